"""What was measured of one search, by whichever program, as plain data."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Trained:
    """One trial, as its program recorded it."""

    backbone: str
    frozen_units: int
    lr: float
    dropout: float
    scores: tuple[float, ...]
    """Validation accuracy after each epoch."""
    epoch_seconds: tuple[float, ...]
    """Training and validation of each epoch, without what is written afterwards."""

    @property
    def best(self) -> float:
        """The score that counts: that of the best epoch."""
        return max(self.scores)

    def as_point(self) -> dict[str, Any]:
        """Give the values of the plain program's space."""
        return {name: getattr(self, name) for name in ("backbone", "frozen_units", "lr", "dropout")}


@dataclass(frozen=True)
class Searched:
    """One whole search, from the command's start to its end."""

    program: str
    seconds: float
    trials: tuple[Trained, ...]
    startup_seconds: float | None = None
    """Until the first trial was handed out; known of ours."""
    training_seconds: float | None = None
    """From then until the last trial's last word."""

    def profile(self, slots: int) -> str:
        """Say where the time of a search went that is known so far; empty if it is not."""
        if self.startup_seconds is None or self.training_seconds is None:
            return ""
        epochs = sum(sum(trial.epoch_seconds) for trial in self.trials)
        after = self.seconds - self.startup_seconds - self.training_seconds
        return (
            f"{self.startup_seconds:.1f} s before the first trial, {self.training_seconds:.1f} s of trials "
            f"(epochs take {epochs / (slots * self.training_seconds):.0%} of their slots), {after:.1f} s after the last"
        )

    def as_json(self) -> dict[str, Any]:
        """Give plain data for the file of raw measurements."""
        return asdict(self)


def warm_epochs(trials: Sequence[Trained], *, views: int, concurrent: int) -> Mapping[int, tuple[int, ...]]:
    """Say which epochs built nothing, by the trial's place in the list: epochs counted from 1.

    Past its first `views` epochs a trial sees views again that it has seen itself. In earlier epochs it sees what an
    earlier trial has built before it, if that one shares its frozen prefix (and, where nothing is frozen, its views)
    and has ended: of `concurrent` and more such trials one at least has. Trials without such an epoch are left out.
    """
    found: dict[int, tuple[int, ...]] = {}
    for place, trial in enumerate(trials):
        before = sum(_shares(trial, other) for other in trials[:place])
        first = 1 if before >= concurrent else views + 1
        epochs = tuple(range(first, len(trial.epoch_seconds) + 1))
        if epochs:
            found[place] = epochs
    return found


def warm_seconds(trials: Sequence[Trained], warm: Mapping[int, tuple[int, ...]]) -> float:
    """Give the seconds of a warm epoch: the median within each trial, and the mean of these over the trials.

    So a large backbone counts as often as it was trained, and a disturbed epoch not at all.
    """
    return statistics.mean(
        statistics.median(trials[place].epoch_seconds[epoch - 1] for epoch in epochs) for place, epochs in warm.items()
    )


def _shares(one: Trained, other: Trained) -> bool:
    """Whether two trials run the same frozen prefix, or neither runs any."""
    if one.frozen_units == other.frozen_units == 0:
        return True
    return (one.backbone, one.frozen_units) == (other.backbone, other.frozen_units)
