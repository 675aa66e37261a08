"""What happens in which epoch, and when enough is enough. Plain values: no torch in here."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from tune_cnn.sections.training import Constant, Schedule, TrainingConfig

WARM_UP = "warm_up"
TRAIN = "train"


@dataclass(frozen=True)
class Phase:
    """A run of epochs with one optimiser and one schedule."""

    name: str
    first_epoch: int
    """Counted from 1."""
    epochs: int
    """How many at most."""
    backbone_frozen: bool
    """Whether the whole backbone stands still, whatever the freeze depth."""
    lr: float
    """Of the head, where the schedule has not changed it."""
    schedule: Schedule
    stop_patience_epochs: int | None

    @property
    def last_epoch(self) -> int:
        """The last epoch of the phase, if nothing stops it before."""
        return self.first_epoch + self.epochs - 1

    @property
    def is_warm_up(self) -> bool:
        """Whether another phase follows."""
        return self.name == WARM_UP


def plan_phases(training: TrainingConfig) -> tuple[Phase, ...]:
    """Give the phases in order: a warm-up of the head where one is asked for, then the training proper.

    The second one as it is if the first goes through all its epochs; `train_phase` says how it is if that ends early.
    """
    warm_up = training.warm_up
    main = train_phase(training, warm_up.epochs + 1)
    if not warm_up.epochs:
        return (main,)
    lr = training.optimizer.lr if warm_up.lr is None else warm_up.lr
    constant = Constant(kind="constant")
    return (Phase(WARM_UP, 1, warm_up.epochs, True, lr, constant, warm_up.stop_patience_epochs), main)


def train_phase(training: TrainingConfig, first_epoch: int) -> Phase:
    """Give the training proper that begins with `first_epoch` and has all epochs that are left."""
    left = training.epochs - first_epoch + 1
    return Phase(
        TRAIN, first_epoch, left, False, training.optimizer.lr, training.schedule, training.stop_patience_epochs
    )


def phase_at(training: TrainingConfig, name: str, first_epoch: int) -> Phase:
    """Give the phase that a checkpoint was taken in."""
    return train_phase(training, first_epoch) if name == TRAIN else plan_phases(training)[0]


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

    def begin(self, patience_epochs: int | None) -> None:
        """Begin to wait anew: a new phase has its own patience. The best stays the best."""
        self.patience_epochs = patience_epochs
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
