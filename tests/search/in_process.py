"""In the place of Ray: the trials themselves, really trained, one after the other in the driver's own process.

For what is the driver's alone to show: a start of Ray, and of a worker, takes many seconds.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from tune_cnn.data.cache import Cache
from tune_cnn.planning.slots import Slots
from tune_cnn.results.failures import failure_of, write_traceback
from tune_cnn.results.records import EpochRecord, TrialFacts, TrialFolder
from tune_cnn.search import ray_cluster, runner
from tune_cnn.search.bridge import Bridge, Session, epoch_message, failure_message
from tune_cnn.search.jobs import Job
from tune_cnn.sections.search import Metric
from tune_cnn.trial import run_trial


def train_in_this_process(monkeypatch: pytest.MonkeyPatch, scratch: Path) -> None:
    """Let searches of this process, until the test ends, train here."""

    @contextmanager
    def nothing_started(*_given: object, **_more: object) -> Iterator[Path]:
        yield scratch

    monkeypatch.setattr(ray_cluster, "ray_running", nothing_started)
    monkeypatch.setattr(ray_cluster, "slots", lambda *_given: Slots(1.0, 0.0, 1.0, 0.0, 1))
    monkeypatch.setattr(runner, "run_jobs", run_jobs)


def run_jobs(session: Session, _offered: Slots, *, metric: Metric, cache: Cache, **_more: object) -> None:
    """Do what the runner does: run proposed trials until there are no more, and raise what ended the search."""
    bridge = Bridge(session, lambda: 1)
    for key in map(str, count()):
        job = bridge.propose(key)
        if job is None:
            break
        bridge.on_end(key, failed=not _trained(bridge, key, job, metric, cache))
    if bridge.broken is not None:
        raise bridge.broken


class _StoppedError(Exception):
    """The scheduler wants no more of a trial."""


def _trained(bridge: Bridge, key: str, job: Job, metric: Metric, cache: Cache) -> bool:
    """Do what a worker does with a job; False if it failed, and the bridge has been told why."""

    def on_epoch(epoch: EpochRecord, facts: TrialFacts, peak_memory_mb: float | None) -> None:
        if not bridge.on_message(key, epoch_message(epoch, facts, peak_memory_mb)):
            raise _StoppedError

    folder = TrialFolder(job.folder)
    try:
        run_trial(job.config, folder, metric=metric, cache=cache, expected_data=job.expected_data, on_epoch=on_epoch)
    except _StoppedError:
        return True
    except Exception as error:  # noqa: BLE001  # as a worker does: it tells of whatever it was
        write_traceback(folder)
        bridge.on_message(key, failure_message(failure_of(error)))
        return False
    return True
