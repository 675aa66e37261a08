"""Workers that die or hang, machines that come and go: real Ray, real processes, on a cluster of this machine.

The trials train nothing (see stub_trial.py), so that an undisturbed run of the same search can be had without Ray.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.search.driving import made_space, open_session
from tests.search.stub_trial import Fault, StubTrial, epoch_of, facts_of, visits
from tune_cnn.data.cache import Cache
from tune_cnn.progress import Patience
from tune_cnn.results.records import EpochRecord, RunFolder, TrialFacts
from tune_cnn.results.trial_files import delete_weights
from tune_cnn.search import runner
from tune_cnn.search.jobs import Job
from tune_cnn.search.session import SearchSession
from tune_cnn.search.slots import Slots

ROOT = Path(__file__).parents[2]
# Drawn at random, and nobody is stopped: so neither values nor scores depend on who ends first.
SEARCH = ("search.asha=null", "search.random_trials=8", "search.trials=8", "training.epochs=5")
PATIENT = Patience(least_seconds=2.0, before_first_step_seconds=2.0)


@dataclass
class Watched:
    """A session, what it said, and what else is to happen when an epoch arrives."""

    session: SearchSession
    lines: list[str]
    meanwhile: Callable[["Watched"], None] = lambda _watched: None
    epochs: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)

    def on_epoch(self, number: int, epoch: EpochRecord, facts: TrialFacts, peak_memory_mb: float | None) -> bool:
        goes_on = self.session.on_epoch(number, epoch, facts, peak_memory_mb)
        self.epochs += 1
        self.meanwhile(self)
        return goes_on


@dataclass
class Machines:
    """A cluster whose head runs no trials."""

    address: str
    cluster: Any
    nodes: list[Any] = field(default_factory=list)

    def add(self, cpus: int) -> str:
        node = self.cluster.add_node(num_cpus=cpus, object_store_memory=80 * 2**20)
        self.nodes.append(node)
        return str(node.node_id)

    def lose(self, place: int) -> None:
        self.cluster.remove_node(self.nodes.pop(place), allow_graceful=False)


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="tc-") as folder:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("RAY_TMPDIR", folder)  # sockets' paths end at 107 letters
        cluster = Cluster(True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        try:
            yield Machines(cluster.address, cluster)
        finally:
            cluster.shutdown()


def run_search(
    machines: Machines,
    folder: Path,
    work: StubTrial,
    *overrides: str,
    meanwhile: Callable[[Watched], None] = lambda _watched: None,
) -> Watched:
    space = made_space(folder, overrides=(*SEARCH, *overrides))
    lines: list[str] = []
    session = open_session(space, RunFolder(folder / "run"), on_event=lines.append)
    watched = Watched(session, lines, meanwhile)
    with runner.ray_running(machines.address, insecure=True) as scratch:
        offered = runner.slots(space.search.per_trial, None, lambda: 1.0)
        runner.run_jobs(
            watched,
            offered,
            metric="val_accuracy",
            cache=Cache(folder / "cache"),
            scratch=scratch,
            patience=PATIENT,
            work=work,
        )
    session.write_tables()
    return watched
