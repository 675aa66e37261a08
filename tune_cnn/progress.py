"""Signs of life of the trial that this process runs, for whoever watches whether it hangs.

Whatever takes long says so as it goes: each training step, each batch, each image that is written to a cache. One trial
runs in a process at a time, so there is one record of it; a sign costs less than a microsecond.
"""

import math
import statistics
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

LEAST_SECONDS = 60.0
STEPS = 10.0
BEFORE_FIRST_STEP_SECONDS = 300.0
_STEPS_REMEMBERED = 101


@dataclass(frozen=True)
class Patience:
    """How long a trial may go without a sign of life: `least_seconds`, or `steps` median steps if that is longer.

    Until the first step there is no telling how long one takes: libraries are loaded, files listed, kernels chosen.
    """

    least_seconds: float = LEAST_SECONDS
    steps: float = STEPS
    before_first_step_seconds: float = BEFORE_FIRST_STEP_SECONDS


class _Signs:
    """What is known of the trial at hand. Written by the thread that trains, read by the one that watches."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.last = time.monotonic()
        self.steps: deque[float] = deque(maxlen=_STEPS_REMEMBERED)
        self.allowed = 0.0


_signs = _Signs()


def begin() -> None:
    """Begin to watch another trial."""
    _signs.begin()


def sign() -> None:
    """Say that something got done: an image, a batch, a piece of a file."""
    _signs.last = time.monotonic()


def step() -> None:
    """Say that a training step got done; how long it took counts for what is long."""
    now = time.monotonic()
    _signs.steps.append(now - _signs.last)
    _signs.last = now


@contextmanager
def unmeasured(seconds: float = math.inf) -> Iterator[None]:
    """Go without a sign of life for so many seconds: what the block does can give none, as it waits for others."""
    before, _signs.allowed = _signs.allowed, seconds
    try:
        yield
    finally:
        _signs.allowed = before
        sign()


def silent_seconds() -> float:
    """Give how long there has been no sign of life."""
    return time.monotonic() - _signs.last


def limit_seconds(patience: Patience) -> float:
    """Give how long there may be none just now; infinite while there can be none."""
    steps = list(_signs.steps)
    if not steps:
        return max(patience.before_first_step_seconds, _signs.allowed)
    return max(patience.least_seconds, patience.steps * statistics.median(steps), _signs.allowed)
