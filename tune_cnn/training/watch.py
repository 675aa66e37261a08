"""A clock for short measurements, on a machine that may have other work."""

import statistics
import time
from collections.abc import Callable

import torch

_SECONDS_EACH = 0.3
_MOST_REPEATS = 5


class Watch:
    """A clock for parts, and how much longer than by this clock everything takes.

    In one thread on a CPU it counts the CPU's time: other programs come and go, and hold up one part of a measurement
    and not the next. What they take is `load`, one figure over all that was measured.
    """

    def __init__(self, device: torch.device, threads: int) -> None:
        """Measure on a device with so many threads."""
        self.device = device
        self._of_cpu = device.type == "cpu" and threads == 1
        self._wall = self._spent = 0.0

    def now(self) -> float:
        """Give seconds; on a GPU, once all that was asked of it is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.process_time() if self._of_cpu else time.perf_counter()

    @property
    def load(self) -> float:
        """Seconds that passed for each second by this clock: 1 on a machine without other work."""
        return max(1.0, self._wall / self._spent) if self._spent else 1.0

    def medians(self, once: Callable[[], list[float]]) -> list[float]:
        """Run once to warm up, then until some time is used, twice at least; the median of each figure."""
        once()
        began, spent = time.perf_counter(), self.now()
        rows = [once()]
        while len(rows) < _MOST_REPEATS and (len(rows) == 1 or self.now() - spent < _SECONDS_EACH):
            rows.append(once())
        self._spent += self.now() - spent
        self._wall += time.perf_counter() - began
        return [statistics.median(column) for column in zip(*rows, strict=True)]
