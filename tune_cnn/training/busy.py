"""Processes that train in a circle, so that what is timed is timed beside trials and not on an idle machine."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from typing import Any

from tune_cnn.config import TrialConfig
from tune_cnn.data.cache import Cache

_READY_SECONDS = 120.0
_CLASSES = 10  # of no account for their time


@contextmanager
def kept_busy(config: TrialConfig, cache: Cache, processes: int) -> Iterator[Callable[[], None]]:
    """Keep so many processes training the network of a config with random weights while the block runs.

    Args:
        config: what they train.
        cache: keeps in which precision a GPU trains it fastest.
        processes: how many; 0 for none.

    Yields:
        Waits until all of them train: starting takes seconds, in which something else can be done.
    """
    context = multiprocessing.get_context("spawn")  # a fork would share torch's threads and a GPU's context
    ready = [context.Event() for _ in range(processes)]
    given = config.model_dump(mode="json")
    workers = [context.Process(target=_train_in_a_circle, args=(given, cache, each), daemon=True) for each in ready]

    def wait() -> None:
        for each, worker in zip(ready, workers, strict=True):
            _await(each, worker)

    try:
        for worker in workers:
            worker.start()
        yield wait
    finally:
        for worker in workers:
            worker.kill()  # it holds nothing that would have to be put away
            worker.join()


def _await(ready: Event, worker: Any) -> None:
    """Wait until a process trains; one that cannot is done without, as a trial beside would be."""
    waited = 0.0
    while worker.is_alive() and waited < _READY_SECONDS and not ready.wait(0.5):
        waited += 0.5


def _train_in_a_circle(config: dict[str, Any], cache: Cache, ready: Event) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted too, and sees to its children
    import torch

    from tune_cnn.models.trunk import frozen_units_of
    from tune_cnn.training.timed_model import TimedModel

    asked, parent = TrialConfig.model_validate(config), os.getppid()
    torch.set_num_threads(asked.cpu_threads)
    timed = TimedModel(asked, _CLASSES, cache)
    optimizer = timed.optimizer(frozen_units_of(asked.model))
    while os.getppid() == parent:  # a killed parent leaves nobody behind
        timed.train_some(optimizer)
        ready.set()
