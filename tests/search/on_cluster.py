"""A search of stub trials on a cluster, in this process.

Or in one of its own: `python -m tests.search.on_cluster ADDRESS FOLDER SECONDS_PER_EPOCH [NAME=VALUE]…`, with `local`
for a Ray of its own: a process that has spoken to one without a token cannot speak to one with.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from tests.search.driving import WEIGHTS, made_space, open_session
from tests.search.stub_trial import StubTrial, visits
from tune_cnn.data.cache import Cache
from tune_cnn.progress import Patience
from tune_cnn.results.records import EpochRecord, RunFolder, TrialFacts
from tune_cnn.search import ray_cluster, runner
from tune_cnn.search.jobs import Job
from tune_cnn.search.preflight import Standard
from tune_cnn.search.session import SearchSession
from tune_cnn.search.study import Study
from tune_cnn.space.schema import Space
from tune_cnn.storage.place import Share

# Drawn at random, and nobody is stopped: so neither values nor scores depend on who ends first.
SEARCH = ("search.asha=null", "search.random_trials=8", "search.trials=8", "training.epochs=5")
PATIENT = Patience(least_seconds=2.0, before_first_step_seconds=2.0)


class Watched(SearchSession):
    """A session that remembers what it said; something else may happen when an epoch arrives."""

    lines: list[str]
    told = 0
    meanwhile: Callable[["Watched"], None] | None = None

    @classmethod
    def open(cls, space: Space, run: RunFolder) -> "Watched":
        lines: list[str] = []
        study = Study.open(run.study, space.search)
        session = cls(space, study, run, weights_files=WEIGHTS, data="d" * 64, on_event=lines.append)
        session.lines = lines
        return session

    def on_epoch(self, number: int, epoch: EpochRecord, facts: TrialFacts, peak_memory_mb: float | None) -> bool:
        goes_on = super().on_epoch(number, epoch, facts, peak_memory_mb)
        self.told += 1
        if self.meanwhile:
            self.meanwhile(self)
        return goes_on


def run_search(
    address: str | None,
    folder: Path,
    work: StubTrial,
    *overrides: str,
    meanwhile: Callable[[Watched], None] | None = None,
    standard: Standard | None = None,
    share: Share | None = None,
) -> Watched:
    space = made_space(folder, overrides=(*SEARCH, *overrides))
    session = Watched.open(space, RunFolder(folder / "run"))
    session.meanwhile = meanwhile
    with ray_cluster.ray_running(address, insecure=True) as scratch:
        offered = ray_cluster.slots(space.search.per_trial, None, lambda: 1.0)
        cache = Cache(folder / "cache")
        runner.run_jobs(
            session,
            offered,
            metric="val_accuracy",
            cache=cache,
            scratch=scratch,
            patience=PATIENT,
            work=work,
            standard=standard,
            share=share,
        )
    session.write_tables()
    return session


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


def undisturbed(folder: Path, *overrides: str) -> pd.DataFrame:
    """The leaderboard of the same search with nothing in its way, by trial."""
    folder.mkdir()
    session = open_session(made_space(folder, overrides=(*SEARCH, *overrides)), RunFolder(folder / "run"))
    while job := session.propose():
        work_through(session, job)
    session.write_tables()
    return leaderboard(session.run)


def work_through(session: SearchSession, job: Job) -> None:
    def tell(*heard: Any) -> None:
        session.on_epoch(job.number, *heard)

    StubTrial(epoch_seconds=0.0)(job.config, session.run.trial(job.number), on_epoch=tell)
    session.on_end(job.number, None)


def leaderboard(run: RunFolder) -> pd.DataFrame:
    return pd.read_csv(run.leaderboard).set_index("trial")


def begun(session: Watched, trial: int) -> list[tuple[int, str]]:
    """Every epoch that was begun, and on which machine."""
    return visits(session.run.trial(trial))


if __name__ == "__main__":
    _, at, into, seconds, *changes = sys.argv
    run_search(None if at == "local" else at, Path(into), StubTrial(epoch_seconds=float(seconds)), *changes)
