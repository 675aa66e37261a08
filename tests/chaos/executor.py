"""In the place of Ray: stub trials in the driver's own process, some at a time, an epoch of each in turn.

What lies between an executor and the session, `tune_cnn.search.bridge`, is the real one, and so is all behind it.
"""

import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.chaos.stub_trial import Told, epochs
from tune_cnn.planning.slots import Slots
from tune_cnn.results.failures import failure_of, write_traceback
from tune_cnn.results.records import TrialFolder
from tune_cnn.search import ray_cluster, runner
from tune_cnn.search.bridge import Bridge, Session, epoch_message, failure_message
from tune_cnn.sections.search import Metric


def install(slots: int) -> None:
    """Take the place of Ray in this process."""

    @contextmanager
    def ray_running(*_given: object, **_more: object) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)

    def offered(*_given: object, **_more: object) -> Slots:
        return Slots(float(slots), 0.0, 1.0, 0.0, slots)

    replaced: list[tuple[ModuleType, str, Callable[..., Any]]] = [
        (ray_cluster, "ray_running", ray_running),
        (ray_cluster, "slots", offered),
        (runner, "run_jobs", run_jobs),
    ]
    for module, name, stand_in in replaced:
        setattr(module, name, stand_in)


@dataclass
class _Running:
    key: str
    folder: TrialFolder
    epochs: Iterator[Told]


def run_jobs(session: Session, offered: Slots, *, metric: Metric, **_more: object) -> None:
    """Do what the runner does: run proposed trials until there are no more, and raise what ended the search."""
    bridge, running, keys = Bridge(session, lambda: offered.concurrent), deque[_Running](), map(str, count())
    try:
        while True:
            while len(running) < offered.concurrent and (one := _begun(bridge, next(keys), metric)):
                running.append(one)
            if not running:
                break
            one = running.popleft()
            if _goes_on(bridge, one):
                running.append(one)
    except Exception:
        if bridge.broken is None:
            raise
    if bridge.broken is not None:
        raise bridge.broken


def _begun(bridge: Bridge, key: str, metric: Metric) -> _Running | None:
    job = bridge.propose(key)
    if job is None:
        return None
    folder = TrialFolder(job.folder)
    return _Running(key, folder, epochs(job.config, folder, metric=metric))


def _goes_on(bridge: Bridge, one: _Running) -> bool:
    """Run an epoch of a trial; False if it has ended, and the bridge has been told."""
    try:
        told = next(one.epochs, None)
    except Exception as error:  # noqa: BLE001  # as a worker does: it tells of whatever it was
        write_traceback(one.folder)
        bridge.on_message(one.key, failure_message(failure_of(error)))
        bridge.on_end(one.key, failed=True)
        return False
    if told is not None and bridge.on_message(one.key, epoch_message(*told)):
        return True
    bridge.on_end(one.key, failed=False)
    return False
