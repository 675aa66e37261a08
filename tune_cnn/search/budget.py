"""How many trials and how much time a search may take, over all its drivers."""

import math
from collections.abc import Callable

from tune_cnn.sections.search import SearchConfig


class Budget:
    """Knows what is spent. Seconds count while a driver is at work, and those of earlier drivers count too."""

    def __init__(self, search: SearchConfig, *, seconds_before: float, clock: Callable[[], float]) -> None:
        self._trials, self._hours = search.trials, search.hours
        self._before, self._clock = seconds_before, clock
        self._begun = clock()

    @property
    def elapsed_seconds(self) -> float:
        """How long this driver has been at it."""
        return self._clock() - self._begun

    @property
    def spent_seconds(self) -> float:
        """How long all drivers have been at it."""
        return self._before + self.elapsed_seconds

    @property
    def seconds_left(self) -> float:
        """How much of the time budget is left; infinite without one."""
        return math.inf if self._hours is None else max(0.0, self._hours * 3600 - self.spent_seconds)

    @property
    def late(self) -> bool:
        """Whether the time is spent."""
        return self.seconds_left == 0

    def spent(self, trials: int) -> str:
        """Say what is spent after so many trials, and how to get more; empty while both last."""
        if trials >= self._trials:
            return f"all {self._trials} trials are done; write --trials N for more"
        if self.late:
            return f"the time budget of {self._hours:g} hours is spent; write --hours N for more"
        return ""
