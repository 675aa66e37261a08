"""How many trials and how much time a search may take, over all its drivers."""

import math
from collections.abc import Callable

from tune_cnn.sections.search import SearchConfig


class Budget:
    """Knows what is spent. Seconds count while a driver is at work, and those of earlier drivers count too."""

    def __init__(
        self,
        search: SearchConfig,
        *,
        seconds_before: float,
        clock: Callable[[], float],
        reserved_before: float = 0.0,
        finals_begun: tuple[int, float | None] | None = None,
        more_trials: str = "",
    ) -> None:
        """Take up what earlier drivers spent.

        Args:
            search: how many trials and hours.
            seconds_before: how long earlier drivers have been at it.
            clock: seconds that only go forward.
            reserved_before: what an earlier driver kept for the finals.
            finals_begun: the trials and hours with which the search was over when its finals began; None before.
            more_trials: the command that adds trials, for people.
        """
        self._trials, self._hours = search.trials, search.hours
        self._before, self._clock = seconds_before, clock
        self._begun = clock()
        self._reserved = reserved_before
        self._finals_begun, self._more_trials = finals_begun, more_trials

    @property
    def elapsed_seconds(self) -> float:
        """How long this driver has been at it."""
        return self._clock() - self._begun

    @property
    def spent_seconds(self) -> float:
        """How long all drivers have been at it."""
        return self._before + self.elapsed_seconds

    def reserve(self, seconds: float) -> None:
        """Keep time for what comes after the trials, but never more than half of the budget."""
        self._reserved = seconds

    @property
    def reserved_seconds(self) -> float:
        """What was last asked to be kept, even if it is more than half of the budget."""
        return self._reserved

    @property
    def whole_seconds_left(self) -> float:
        """How much of the time budget is left for trials and finals together; infinite without one."""
        return math.inf if self._hours is None else max(0.0, self._hours * 3600 - self.spent_seconds)

    @property
    def seconds_left(self) -> float:
        """How much of the time budget is left for trials; infinite without one."""
        if self._hours is None:
            return math.inf
        whole = self._hours * 3600
        return max(0.0, whole - min(self._reserved, whole / 2) - self.spent_seconds)

    @property
    def late(self) -> bool:
        """Whether the time is spent."""
        return self.seconds_left == 0

    def spent(self, trials: int) -> str:
        """Say what is spent after so many trials, and how to get more; empty while both last."""
        if trials >= self._trials:
            return f"all {self._trials} trials are done; for more: {self._more_trials}"
        if self.late:
            return f"the time budget of {self._hours:g} hours is spent; write --hours N for more"
        if self._finals_have_begun:
            return "the finals have begun; write --trials N or --hours N for more trials before them"
        return ""

    @property
    def _finals_have_begun(self) -> bool:
        """Whether finals began, and nobody has raised a budget since."""
        if self._finals_begun is None:
            return False
        trials, hours = self._finals_begun
        return self._trials <= trials and (self._hours or math.inf) <= (hours or math.inf)
