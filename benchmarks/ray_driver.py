"""As driver.py, but with real Ray, real processes and real seconds: trials that sleep, on as many logical CPUs.

Each slot is a process, and starting one takes a core some seconds; so the share of busy slots is taken from when every
slot has told of its first epoch to when nothing more is proposed.
"""

import argparse
import json
import logging
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import stub_worker
from benchmarks.places import ROOT
from benchmarks.simulation import open_session
from tune_cnn.data.cache import Cache
from tune_cnn.planning.slots import Slots
from tune_cnn.results.records import EpochRecord, TrialFacts
from tune_cnn.search import runner  # sets Ray's variables: before ray is imported
from tune_cnn.search.jobs import Job
from tune_cnn.search.open_space import open_space
from tune_cnn.search.retries import Loss
from tune_cnn.search.session import SearchSession

import ray  # isort: skip

_SPACE = ROOT / "spaces" / "aquarium.yaml"
_EPOCHS = 5


@dataclass
class Watched:
    """A session, and when it was told what."""

    session: SearchSession
    told_at: dict[int, list[float]] = field(default_factory=dict)
    """Of each trial, when its epochs arrived."""
    over_at: float | None = None
    """When it first had nothing more to propose."""

    def propose(self) -> Job | None:
        """Give the next job."""
        job = self.session.propose()
        if job is None and self.over_at is None:
            self.over_at = time.perf_counter()
        return job

    def on_read_back(self, number: int, tree: Mapping[str, Any], /) -> None:
        """Take in what effective.yaml holds."""
        self.session.on_read_back(number, tree)

    def on_epoch(self, number: int, epoch: EpochRecord, facts: TrialFacts, peak_memory_mb: float | None, /) -> bool:
        """Take in an epoch."""
        self.told_at.setdefault(number, []).append(time.perf_counter())
        return self.session.on_epoch(number, epoch, facts, peak_memory_mb)

    def on_end(self, number: int, failure: str | None, /) -> None:
        """Take in that a job has ended."""
        self.session.on_end(number, failure)

    def next_epoch(self, number: int, /) -> int:
        """Give the epoch that a running job is in."""
        return self.session.next_epoch(number)

    def on_retry(self, number: int, text: str, losses: Sequence[Loss], /) -> None:
        """Take in that a job was interrupted."""
        self.session.on_retry(number, text, losses)

    def on_slots(self, concurrent: int, /) -> None:
        """Take in that the cluster has changed."""
        self.session.on_slots(concurrent)

    def on_waiting(self, text: str, /) -> None:
        """Take in that jobs find no worker."""
        self.session.on_waiting(text)

    def busy_share(self, slots: int) -> float:
        """Give the share of the slots' time that was spent in epochs, while all slots were there and had work."""
        firsts = sorted(each[0] for each in self.told_at.values())
        assert self.over_at is not None  # noqa: S101 - the run is over
        began, over = firsts[slots - 1], self.over_at
        epochs = sum(began < told <= over for each in self.told_at.values() for told in each)
        return epochs * stub_worker.EPOCH_SECONDS / (slots * (over - began))


def measure(*, trials: int, slots: int, folder: Path) -> Watched:
    """Run stub trials of five seconds on a Ray of so many logical CPUs on this machine."""
    sets = (f"search.trials={trials}", f"training.epochs={_EPOCHS}", f"search.asha.grace_epochs={_EPOCHS}")
    space = open_space(_SPACE, overrides=sets).space
    watched = Watched(open_session(space, folder / "run", time.monotonic))
    os.environ["PYTHONPATH"] = str(ROOT)
    ray.init(
        address="local",
        num_cpus=slots,
        object_store_memory=128 * 2**20,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        runtime_env={"worker_process_setup_hook": f"{stub_worker.__name__}.install"},
        _temp_dir=str(folder / "ray"),
    )
    try:
        offered = Slots(slots, 0.0, 1.0, 0.0, slots)
        metric = space.search.ranked_by
        runner.run_jobs(watched, offered, metric=metric, cache=Cache(folder / "cache"), scratch=folder)
    finally:
        ray.shutdown()
    return watched


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tc-") as folder:  # short: paths of sockets end at 107 letters
        watched = measure(trials=asked.trials, slots=asked.slots, folder=Path(folder))
    share = watched.busy_share(asked.slots)
    print(f"{asked.trials} trials of {_EPOCHS} s on {asked.slots} slots of real Ray: {share:.1%} of the slots busy")
    if asked.json:
        asked.json.write_text(json.dumps({"trials": asked.trials, "slots": asked.slots, "busy_share": share}))


if __name__ == "__main__":
    main()
