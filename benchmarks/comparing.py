"""Measure one workload with both programs, and make its rows of the table."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.agreement import Agreement, agreement
from benchmarks.facts import load_average
from benchmarks.measured import Searched, warm_epochs, warm_seconds
from benchmarks.programs import Setting, search_ours, search_plain
from benchmarks.table import Row
from benchmarks.workloads import VIEWS, Workload


@dataclass(frozen=True)
class Comparison:
    """One workload, done by both programs."""

    workload: Workload
    setting: Setting
    ours: Searched
    plain: Searched
    load_averages: tuple[float, float]
    """Before each program began."""

    @property
    def warm(self) -> Mapping[int, tuple[int, ...]]:
        """The epochs of our trials that built nothing; the plain program's are compared at the same places."""
        return warm_epochs(self.ours.trials, views=VIEWS, concurrent=self.setting.concurrent)

    @property
    def agreement(self) -> Agreement:
        """Whether both found the same scores."""
        ours, plain = ([trial.best for trial in each.trials] for each in (self.ours, self.plain))
        return agreement(ours, plain, images=self.setting.images.val)

    def rows(self) -> list[Row]:
        """Give the rows that have a target; a warm epoch only where there was one."""
        name, whole = self.workload.title, (self.ours.seconds, self.plain.seconds)
        rows = [_ratio(name, "whole search", *whole, self.workload.whole_target)]
        if self.workload.warm_target is not None and self.warm:
            ours, plain = (warm_seconds(each.trials, self.warm) for each in (self.ours, self.plain))
            rows.insert(0, _ratio(name, "warm epoch", ours, plain, self.workload.warm_target))
        return rows

    def as_json(self) -> dict[str, Any]:
        """Give the raw measurements."""
        return {
            "workload": self.workload.name,
            "images": {"train": self.setting.images.train, "val": self.setting.images.val},
            "warm_epochs": {str(place): list(epochs) for place, epochs in self.warm.items()},
            "load_averages": list(self.load_averages),
            "searches": [self.ours.as_json(), self.plain.as_json()],
        }


def compare(workload: Workload, setting: Setting, folder: Path, *, workers: int) -> Comparison:
    """Run a workload with both programs.

    Ours goes first: its sampler draws the configurations, and the plain program is handed the list.

    Args:
        workload: what is searched.
        setting: what both are told alike.
        folder: a new one, for what both leave.
        workers: of the plain program's DataLoader.

    Raises:
        ProgramError: one of the programs failed.
    """
    sets = [
        f"search.trials={workload.trials}",
        f"training.epochs={workload.epochs}",
        f"image.px={workload.px}",
    ]
    before = load_average()
    ours = search_ours(workload.space, setting, folder / "ours", overrides=sets)
    between = load_average()
    plain = search_plain(
        ours.trials, setting, folder / "plain", px=workload.px, epochs=workload.epochs, workers=workers
    )
    return Comparison(workload, setting, ours, plain, (before, between))


def _ratio(workload: str, measure: str, ours: float, plain: float, target: float) -> Row:
    return Row(workload, measure, _seconds(ours), _seconds(plain), plain / ours, "x", "≥", target)


def _seconds(value: float) -> str:
    return f"{value:.3g} s"
