"""The long chaos suite: `make chaos`. Prints seeds and figures, and ends with 1 if anything did not hold.

Each part can be run alone: `make chaos PARTS="kills crowd" KILLS=500 SEED=7`.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import TypeVar

from tests.chaos import points
from tests.chaos.cluster import kill_workers, lose_nodes
from tests.chaos.crowd import crowd
from tests.chaos.damage import Damaged
from tests.chaos.ground import KINDS, ONE_BY_ONE, Ground
from tests.chaos.kills import MOST_KILLS, Figures, kill_and_resume, undisturbed

One = TypeVar("One")
Part = Callable[[argparse.Namespace, Ground, Path], tuple[str, Sequence[str]]]
"""Gives its figures, and what did not hold."""


def driver_kills(asked: argparse.Namespace, ground: Ground, folder: Path) -> tuple[str, Sequence[str]]:
    """Kill drivers at random moments until there are as many kills as asked for."""
    whole = {kind: undisturbed(ground, kind, folder) for kind in KINDS}

    def one(seed: int) -> Figures:
        kind, kills = KINDS[seed % len(KINDS)], random.Random(seed).randint(1, MOST_KILLS)
        return kill_and_resume(ground, kind, folder, whole[kind], seed=seed, kills=kills)

    figures, seeds = Figures(), count(asked.seed)
    with ThreadPoolExecutor(asked.jobs) as pool:
        while figures.kills < asked.kills:
            figures.add(*pool.map(one, [next(seeds) for _ in range(asked.jobs)]))
    by = ", ".join(f"{kills} {name}" for name, kills in sorted(figures.by_signal.items()))
    return (
        f"{figures.kills} driver kills ({by}), {figures.in_resume} of them in a resume, in {figures.runs} searches; "
        f"{figures.finished_when_killed} finished trials watched",
        figures.faults,
    )


def every_point(asked: argparse.Namespace, ground: Ground, folder: Path) -> tuple[str, Sequence[str]]:
    """Strike at every write, sync, rename and commit."""
    search = points.Points(ground, folder)
    struck = search.all()
    if asked.one_kind:
        struck = _one_of_each(struck, random.Random(asked.seed))
    chosen = (
        struck if asked.points is None else random.Random(asked.seed).sample(struck, min(asked.points, len(struck)))
    )
    faults = _each(asked.jobs, search.strike, chosen)
    return f"{len(chosen)} faults, of {len(struck)}, on all ways to the {len(search.names)} points", faults


def _one_of_each(struck: Sequence[points.Struck], chance: random.Random) -> list[points.Struck]:
    """Choose one of the things that can happen at each point."""
    by_point: dict[int, list[points.Struck]] = {}
    for one in struck:
        by_point.setdefault(one.at, []).append(one)
    return [chance.choice(ones) for ones in by_point.values()]


def damaged_files(asked: argparse.Namespace, ground: Ground, folder: Path) -> tuple[str, Sequence[str]]:
    """Cut, empty, delete and flip every file of a finished and of an interrupted run."""
    folder.mkdir()
    faults: list[str] = []
    files = 0
    for name, interrupted in {"finished": False, "interrupted": True}.items():
        damaged = Damaged(ground, folder / name, interrupted=interrupted)
        damages = list(damaged.all(random.Random(asked.seed), flips=asked.flips))
        files += len(damages)
        faults += [f"{name}: {fault}" for fault in _each(asked.jobs, damaged.try_out, damages)]
    return f"{files} damaged files", faults


def crowds(asked: argparse.Namespace, ground: Ground, folder: Path) -> tuple[str, Sequence[str]]:
    """Twenty drivers at once on one folder, some times."""
    folder.mkdir()
    whole = undisturbed(ground, ONE_BY_ONE, folder)
    faults = [fault for turn in range(5) for fault in crowd(ground, folder / str(turn), whole, starts=20)]
    return "5 times 20 drivers at once on one folder", faults


def worker_kills(asked: argparse.Namespace, ground: Ground, folder: Path) -> tuple[str, Sequence[str]]:
    """Kill workers of real Ray."""
    found = kill_workers(ground, folder, seed=asked.seed, kills=asked.workers)
    return f"{found.struck} workers killed in {found.searches} searches", found.faults


def node_losses(asked: argparse.Namespace, ground: Ground, folder: Path) -> tuple[str, Sequence[str]]:
    """Take away nodes of a cluster of real Ray."""
    found = lose_nodes(ground, folder, seed=asked.seed, losses=asked.nodes)
    return f"{found.struck} nodes lost in {found.searches} searches", found.faults


PARTS: Mapping[str, Part] = {
    "kills": driver_kills,
    "points": every_point,
    "damage": damaged_files,
    "crowd": crowds,
    "workers": worker_kills,
    "nodes": node_losses,
}


def _each(jobs: int, act: Callable[[One], str], ones: Sequence[One]) -> list[str]:
    """Do something with each, some at a time; gives what did not hold, and says at once in a line that it did not."""

    def told(one: One) -> str:
        if fault := act(one):
            print(f"  {fault.splitlines()[0][:200]}", flush=True)
        return fault

    with ThreadPoolExecutor(jobs) as pool:
        return [fault for fault in pool.map(told, ones) if fault]


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all of them by default")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--kills", type=int, default=210, help="of drivers")
    parser.add_argument("--workers", type=int, default=32, help="workers of real Ray to kill")
    parser.add_argument("--nodes", type=int, default=11, help="nodes of real Ray to lose")
    parser.add_argument("--points", type=int, help="so many of the faults at write points; all by default")
    parser.add_argument("--one-kind", action="store_true", help="at each write point one fault, drawn at random")
    parser.add_argument("--flips", type=int, default=4, help="bits turned over per file")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time")
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    failed = False
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        ground = Ground.make(Path(folder) / "ground")
        for name in asked.parts or PARTS:
            began = time.monotonic()
            figures, faults = PARTS[name](asked, ground, Path(folder) / name)
            failed = failed or bool(faults)
            print(f"{name}: {figures}; {len(faults)} faults; {time.monotonic() - began:.0f} s", flush=True)
            print(*(f"  {fault}" for fault in faults), sep="\n", end="\n" if faults else "", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
