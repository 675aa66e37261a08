"""The forecast of a running search: fed with what its session is told, and held against what it took in the end."""

from collections.abc import Callable, Mapping
from typing import Any

from tune_cnn.config import TrialConfig
from tune_cnn.planning.forecast import Forecast, Moment
from tune_cnn.results.display import clock_text
from tune_cnn.results.records import EpochRecord
from tune_cnn.search.budget import Budget
from tune_cnn.search.study import Study
from tune_cnn.sections.search import SearchConfig


class Estimate:
    """Says what is left, and keeps in the study what was said first, for a resume to go on from."""

    def __init__(
        self,
        forecast: Forecast,
        study: Study,
        search: SearchConfig,
        budget: Budget,
        *,
        moment: Callable[[], Moment],
        clock: Callable[[], float],
    ) -> None:
        """Begin, with what the plan said where it was called.

        Args:
            forecast: not yet fed, but for epochs of earlier drivers.
            study: keeps the first estimate.
            search: its budget.
            budget: what is spent of it.
            moment: says where the search stands.
            clock: seconds that only go forward.
        """
        self.forecast = forecast
        self._study, self._search, self._budget = study, search, budget
        self._moment, self._clock = moment, clock
        self._begun: dict[int, float] = {}
        self._in_epochs: dict[int, float] = {}
        self._ended = 0
        self._first = self._kept()
        self._update(force=True)

    @property
    def seconds_left(self) -> float | None:
        """Of trials and finals; None as long as there is nothing to go by."""
        return self.forecast.seconds_left

    def on_begin(self, number: int) -> None:
        """Take in that a trial was handed out."""
        self._begun[number], self._in_epochs[number] = self._clock(), 0.0

    def on_epoch(self, number: int, config: TrialConfig, epoch: EpochRecord) -> None:
        """Take in an epoch that was not told before."""
        self._in_epochs[number] += epoch.seconds
        self.forecast.on_epoch(number, config, epoch)
        self._update(force=self._first is None)

    def on_end(self, number: int) -> None:
        """Take in that a trial has ended."""
        self.forecast.on_end(self._clock() - self._begun.pop(number) - self._in_epochs.pop(number))
        self._ended += 1
        self._update(force=False)

    def on_slots(self, concurrent: int) -> None:
        """Take in that from now on so many trials can run at a time; with none, what is left is said as with one."""
        self.forecast.slots = max(1, concurrent)
        self._update(force=True)

    def text(self) -> str:
        """Say at the end of all how far off the first estimate was; empty where there was none, or nothing was run."""
        if self._first is None or not self._ended:
            return ""
        said, took = float(self._first["seconds"]), self._budget.spent_seconds
        source = "the measurements of `tune-cnn plan`" if self._first["measured"] else "the first epochs"
        off = f"{abs(took / said - 1):.0%} {'more' if took >= said else 'less'}" if said else "more"
        when = clock_text(float(self._first["after_seconds"]))
        return f"{clock_text(said)} in all, said at {when} by {source}; it took {clock_text(took)}, {off}"

    def _update(self, *, force: bool) -> None:
        self.forecast.update(self._moment, force=force)
        left = self.forecast.seconds_left
        if self._first is None and left is not None:
            spent = self._budget.spent_seconds
            self._first = {
                "seconds": round(spent + left, 1),
                "after_seconds": round(spent, 1),
                "measured": self.forecast.measured,
                **self._asked(),
            }
            self._study.note_estimate(self._first)

    def _kept(self) -> Mapping[str, Any] | None:
        """Give what an earlier driver kept, unless it was asked for another budget."""
        kept = self._study.estimate()
        return kept if kept and all(kept.get(name) == value for name, value in self._asked().items()) else None

    def _asked(self) -> dict[str, Any]:
        finals = self._search.finals
        return {
            "trials": self._search.trials,
            "hours": self._search.hours,
            "repeats": finals.top * finals.repeats if finals else 0,
        }
