"""`make bench`: the table against the plain Ray Tune program, measured in one run. See benchmarks/README.md."""

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from benchmarks.facts import is_busy, measuring_facts
from benchmarks.material import find_aquarium
from benchmarks.places import RESULTS
from benchmarks.programs import ProgramError
from benchmarks.stages import (
    Bench,
    Found,
    Part,
    driver_part,
    overhead_part,
    ray_driver_part,
    search_part,
    suggestion_part,
    worker_part,
)
from benchmarks.table import section
from benchmarks.workloads import QUICK, WORKLOADS, Sizes, quick
from tune_cnn.machine import usable_cpus

_ASKED_FOR_ALONE = {"ray_driver"}
"""Parts that are left out unless --only names them: 64 processes need some 8 GB and minutes to start."""


def parts(*, quickly: bool) -> Mapping[str, Part]:
    """Give the parts of the benchmark by the names that --only takes."""
    searches = {each.name: search_part(quick(each) if quickly else each) for each in WORKLOADS}
    return {
        **searches,
        "overhead": overhead_part,
        "suggestion": suggestion_part,
        "driver": driver_part,
        "worker": worker_part,
        "ray_driver": ray_driver_part,
    }


def measure(bench: Bench, chosen: Mapping[str, Part]) -> tuple[Found, list[str]]:
    """Do parts one after the other; one that fails does not keep the others from being measured.

    Returns:
        What was found, and a message for each part that failed.
    """
    found, failures = Found(), list[str]()
    for name, part in chosen.items():
        began = time.perf_counter()
        print(f"{name} …", end=" ", file=sys.stderr, flush=True)
        try:
            found.take_in(part(bench))
        except ProgramError as error:
            failures.append(f"{name}: {error}")
        print(f"{time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    return found, failures


def common_notes(bench: Bench, seconds: float) -> list[str]:
    """Say what a reader has to know of all rows."""
    data = "the aquarium" if bench.real else "a generated stand-in for the aquarium, which is not here"
    notes = [f"Images: {data}. All of it took {seconds / 60:.0f} minutes."]
    if "workers" in vars(bench):  # it was asked for
        best, tried = bench.workers
        each = ", ".join(f"{count}: {mean:.2f} s" for count, mean in tried.items())
        notes.append(f"The plain program has {best} DataLoader workers" + (f" ({each} per epoch)." if each else "."))
    return notes


@contextmanager
def work_folder(kept: Path | None) -> Iterator[Path]:
    """Give a new folder: the one that is to be kept, or one that is deleted in the end."""
    if kept is not None:
        kept.mkdir(parents=True)
        yield kept.absolute()
        return
    folder = Path(tempfile.mkdtemp(prefix="tc-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(parts(quickly=False)), help="repeatable")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run? the figures mean nothing")
    parser.add_argument("--data", type=Path, help="the aquarium; data/aquarium by default, else a generated stand-in")
    parser.add_argument("--stand-in", action="store_true", help="the generated data set in any case")
    parser.add_argument("--concurrent", type=int, default=usable_cpus(), help="trials at a time; one per core")
    parser.add_argument("--gpus-per-trial", type=float, default=0)
    parser.add_argument("--out", type=Path, help="a new folder for all that the programs leave, which is kept then")
    parser.add_argument("--json", type=Path, help="write the raw measurements here")
    parser.add_argument("--append", action="store_true", help="add the tables to benchmarks/RESULTS.md")
    return parser.parse_args()


def main() -> None:
    """Measure, print, and keep what is asked to be kept."""
    asked = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leave neither programs nor their folders behind
    facts = measuring_facts()
    if is_busy():
        print(f"load average {facts['load_average']}: others are at work here, and times mean little", file=sys.stderr)
    every = parts(quickly=asked.quick)
    chosen = {name: part for name, part in every.items() if name in (asked.only or every.keys() - _ASKED_FOR_ALONE)}
    real = None if asked.stand_in else find_aquarium(asked.data)
    began = time.perf_counter()
    with work_folder(asked.out) as folder:
        bench = Bench(folder, real, asked.concurrent, asked.gpus_per_trial, QUICK if asked.quick else Sizes())
        found, failures = measure(bench, chosen)
        found.notes += common_notes(bench, time.perf_counter() - began)
    text = section(facts, found.rows, found.searches, found.notes)
    print(text)
    if asked.json:
        raw = {"facts": facts, "rows": [asdict(row) for row in found.rows], **found.raw}
        asked.json.write_text(json.dumps(raw, indent=1) + "\n")
    if asked.append:
        RESULTS.write_text(f"{RESULTS.read_text().rstrip()}\n\n{text}")
    if failures:
        sys.exit("\n\n".join(failures))


if __name__ == "__main__":
    main()
