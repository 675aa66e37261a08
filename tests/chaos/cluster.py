"""Real Ray: workers that are killed in mid-epoch, and nodes that go down with all that runs on them."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.chaos import stub_trial
from tests.chaos.ground import AT_RANDOM, ONE_BY_ONE, Ground, Kind
from tests.chaos.kills import undisturbed
from tests.chaos.outcome import Tables, doubled, trained_too_often
from tests.chaos.stub_trial import trained
from tune_cnn.results.records import RunFolder

ROOT = Path(__file__).parents[2]
MOST_PER_TRIAL = 3
"""How often one trial is struck: it is retried so often, and no oftener."""
_HANGS_SECONDS = 900.0  # each worker takes half a minute to start on a machine that others use
_MEMORY = {"object_store_memory": 80 * 2**20}
_KINDS = (
    replace(ONE_BY_ONE, sets=("search.concurrent=1",)),
    replace(AT_RANDOM, sets=(*AT_RANDOM.sets, "search.concurrent=2")),
)


@dataclass
class Losses:
    """What was struck, and what went wrong."""

    struck: int = 0
    searches: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass
class Search:
    """A search in a process of its own, with real Ray."""

    run: RunFolder
    process: "subprocess.Popen[bytes]"

    @property
    def trained(self) -> Path:
        return self.run.path.with_suffix(".trained")

    @property
    def said(self) -> str:
        return self.run.path.with_suffix(".out").read_text(errors="replace")


@contextmanager
def searching(command: tuple[str, ...], run: RunFolder, epoch_seconds: float) -> Iterator[Search]:
    """Start a search, and leave none behind."""
    told = {stub_trial.TRAINED: str(run.path.with_suffix(".trained")), stub_trial.EPOCH_SECONDS: str(epoch_seconds)}
    environment = os.environ | told | {"PYTHONPATH": str(ROOT)}
    with run.path.with_suffix(".out").open("wb") as out:
        program = [sys.executable, "-m", "tests.chaos.ray_driver", *command]
        process = subprocess.Popen(program, cwd=ROOT, env=environment, stdout=out, stderr=out)
        try:
            yield Search(run, process)
        finally:
            process.kill()
            process.wait()


def kill_workers(ground: Ground, folder: Path, *, seed: int, kills: int, per_search: int = 12) -> Losses:
    """Kill workers until there are as many kills as asked for."""
    folder.mkdir(exist_ok=True)
    found = Losses()
    while found.struck < kills and not found.faults:
        chance = random.Random(f"workers {seed} {found.searches}")
        kind = _KINDS[found.searches % len(_KINDS)]
        run = RunFolder(folder / f"workers-{found.searches}")
        with searching(ground.search(run.path, kind), run, epoch_seconds=0.4) as search:
            found.struck += _strike(search, chance, min(per_search, kills - found.struck), _kill_worker)
            _judge(ground, kind, folder, search, found)
    return found


def lose_nodes(ground: Ground, folder: Path, *, seed: int, losses: int, per_search: int = 5) -> Losses:
    """Take nodes away, and put others in their place, until as many were lost as asked for."""
    from ray.cluster_utils import Cluster

    folder.mkdir(exist_ok=True)
    (Path(tempfile.gettempdir()) / "ray").mkdir(exist_ok=True)  # Ray notes its address there, and does not make it
    found = Losses()
    os.environ |= {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}  # the nodes inherit them
    while found.struck < losses and not found.faults:
        chance = random.Random(f"nodes {seed} {found.searches}")
        run = RunFolder(folder / f"nodes-{found.searches}")
        with tempfile.TemporaryDirectory(prefix="tc-") as scratch:  # short: paths of sockets end at 107 letters
            cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "temp_dir": scratch} | _MEMORY)
            nodes = [cluster.add_node(num_cpus=1, **_MEMORY) for _ in range(2)]
            cluster.wait_for_nodes()
            kind = _KINDS[1]
            command = (*ground.search(run.path, kind), "--address", cluster.address, "--insecure-cluster")

            def lose(
                _pid: int, cluster: Any = cluster, nodes: list[Any] = nodes, chance: random.Random = chance
            ) -> None:
                cluster.remove_node(nodes.pop(chance.randrange(len(nodes))), allow_graceful=False)
                nodes.append(cluster.add_node(num_cpus=1, **_MEMORY))

            try:
                with searching(command, run, epoch_seconds=1.0) as search:
                    found.struck += _strike(search, chance, min(per_search, losses - found.struck), lose, pause=6.0)
                    _judge(ground, kind, folder, search, found)
            finally:
                cluster.shutdown()
    return found


def _kill_worker(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def _strike(
    search: Search, chance: random.Random, most: int, strike: Callable[[int], None], *, pause: float = 0.5
) -> int:
    """Strike at trials in mid-epoch until the search is over; gives how often."""
    struck, hits, seen = 0, Counter[str](), 0
    deadline = time.monotonic() + _HANGS_SECONDS
    while search.process.poll() is None and time.monotonic() < deadline:
        time.sleep(pause * chance.uniform(0.2, 1.0))
        lines = trained(search.trained)
        if struck == most or len(lines) == seen:
            continue
        name, _, pid = lines[-1]
        if hits[name] >= MOST_PER_TRIAL - (pause > 1):  # a node may take two trials along
            continue
        with suppress(ProcessLookupError):  # it has ended just now
            strike(pid)
            struck, seen = struck + 1, len(lines)
            hits[name] += 1
    return struck


def _judge(ground: Ground, kind: Kind, folder: Path, search: Search, found: Losses) -> None:
    where = search.run.path.name
    found.searches += 1
    if search.process.poll() != 0:
        found.faults.append(f"{where}: ended with {search.process.poll()}: {search.said[-3000:]}")
        return
    alone = folder / f"{where}-alone"
    unlike = Tables.of(search.run).unlike(undisturbed(ground, kind, alone).tables)
    if not trained(search.trained):
        found.faults.append(f"{where}: no epoch was told of, so nothing was struck")
    faults = doubled(search.run) + trained_too_often(search.trained, ()) + ([unlike] if unlike else [])
    found.faults += [f"{where}: {fault}" for fault in faults]
