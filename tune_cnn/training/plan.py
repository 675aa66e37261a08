"""What happens in which epoch, and when enough is enough. Plain values: no torch in here."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from tune_cnn.sections.training import TrainingConfig


@dataclass(frozen=True)
class Phase:
    """A run of epochs with one optimiser and one schedule."""

    name: str
    first_epoch: int
    """Counted from 1."""
    epochs: int
    backbone_frozen: bool
    """Whether the whole backbone stands still, whatever the freeze depth."""

    @property
    def last_epoch(self) -> int:
        """The last epoch of the phase, if nothing stops it before."""
        return self.first_epoch + self.epochs - 1


def plan_phases(training: TrainingConfig) -> tuple[Phase, ...]:
    """Give the phases in order: a warm-up of the head where one is asked for, then the training proper."""
    warm = training.warm_up.epochs
    main = Phase("train", warm + 1, training.epochs - warm, backbone_frozen=False)
    return (Phase("warm_up", 1, warm, backbone_frozen=True), main) if warm else (main,)


class EarlyStopping:
    """Remembers the best epoch and says when `patience_epochs` epochs in a row brought nothing better.

    A tie is not a gain, NaN is not a gain, and None as patience never stops.
    """

    def __init__(self, patience_epochs: int | None) -> None:
        self.patience_epochs = patience_epochs
        self.best_score = -inf
        self.best_epoch = 0
        self._waited_epochs = 0

    def update(self, epoch: int, score: float) -> bool:
        """Take in an epoch's score; True if it is the best so far."""
        if score > self.best_score:
            self.best_score, self.best_epoch, self._waited_epochs = score, epoch, 0
            return True
        self._waited_epochs += 1
        return False

    @property
    def exhausted(self) -> bool:
        """Whether the patience has run out."""
        return self.patience_epochs is not None and self._waited_epochs >= self.patience_epochs

    def forgive(self) -> None:
        """Begin to wait anew: a new phase deserves its own patience. The best stays the best."""
        self._waited_epochs = 0

    def state(self) -> dict[str, Any]:
        """Give plain data that `restore` reads back; before the first epoch the best score is None."""
        best = None if self.best_score == -inf else self.best_score
        return {"best_score": best, "best_epoch": self.best_epoch, "waited_epochs": self._waited_epochs}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken."""
        self.best_score = -inf if state["best_score"] is None else state["best_score"]
        self.best_epoch = state["best_epoch"]
        self._waited_epochs = state["waited_epochs"]
