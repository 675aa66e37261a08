"""What a run leaves behind: the records of epochs and trials, and the names of files and columns. Nowhere else."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Scalar = None | bool | int | float | str
State = Literal["complete", "stopped", "failed", "running"]

FACTS = (
    "parameters",
    "trainable_parameters",
    "model_mb",
    "peak_memory_mb",
    "ms_per_image",
    "frozen_units",
    "micro_batch_size",
)
LEADERBOARD_HEAD = ("rank", "trial", "state", "score", "best_epoch", "epochs", "seconds")


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of one trial. `scores` holds the loss and the task's scores for train and val, as `val_accuracy`."""

    epoch: int
    """Counted from 1."""
    seconds: float
    lr: float
    """The learning rate of the head in the epoch's last step."""
    frozen_units: int
    score: float
    """What the search ranks by; higher is better."""
    scores: Mapping[str, float]
    ms_per_image: float | None = None
    """Milliseconds per image of the pass over the validation images: decoded, in batches, on this device."""
    micro_batch_size: int | None = None
    """How many images went through the network at once since memory ran out; None: a whole batch."""
    phase: str = "train"
    """Of the training: `warm_up`, `train`, or `fit` for a model that is fitted at once."""

    def as_json(self) -> dict[str, Any]:
        """Give plain data that `from_json` reads back."""
        return {**self.__dict__, "scores": dict(self.scores)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "EpochRecord":
        """Read what `as_json` gave."""
        return cls(**data)

    def row(self) -> dict[str, float | str]:
        """Give the columns of epochs.csv after `trial`."""
        return {
            "epoch": self.epoch,
            "phase": self.phase,
            "seconds": self.seconds,
            "lr": self.lr,
            "frozen_units": self.frozen_units,
            **self.scores,
        }


@dataclass(frozen=True)
class TrialFacts:
    """What a trial costs and how much of it stands still; read from the live model."""

    parameters: int
    trainable_parameters: int
    model_mb: float
    frozen_units: int
    units: int
    device: str
    precision: str = "float32"
    """Of training: the numbers, and on GPUs their layout."""

    def as_json(self) -> dict[str, Any]:
        """Give plain data that `TrialFacts(**data)` reads back."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class TrialRecord:
    """One trial as the tables show it, whatever became of it."""

    trial: int
    state: State
    seed: int
    values: Mapping[str, Scalar]
    """Every searched parameter of this trial, by its dotted name; those of branches not taken are absent."""
    epochs: tuple[EpochRecord, ...] = ()
    facts: TrialFacts | None = None
    peak_memory_mb: float | None = None
    reason: str = ""
    """Why it was stopped or failed; empty otherwise."""
    data: str = ""
    """The fingerprint of the images it saw."""
    test: Mapping[str, float] = field(default_factory=dict)
    outside: bool = False
    """Whether it lies outside the space since that was changed: then it stands in the tables, and is no measure."""

    @property
    def best(self) -> EpochRecord | None:
        """The epoch with the highest score, the earliest of equals; None for a failed trial or one without an epoch."""
        if self.state == "failed" or not self.epochs:
            return None
        return max(self.epochs, key=lambda epoch: (epoch.score, -epoch.epoch))

    @property
    def ms_per_image(self) -> float | None:
        """The fastest pass over the validation images: what slows one down is no property of the model."""
        return min((epoch.ms_per_image for epoch in self.epochs if epoch.ms_per_image is not None), default=None)

    @property
    def micro_batch_size(self) -> int | None:
        """How few images memory held at once, the gradients of a batch added up; None where it held whole batches."""
        sizes = (epoch.micro_batch_size for epoch in self.epochs)
        return min((size for size in sizes if size is not None), default=None)

    @property
    def seconds(self) -> float:
        """The time spent in epochs."""
        return sum(epoch.seconds for epoch in self.epochs)


@dataclass(frozen=True)
class TrialFolder:
    """The files of one trial."""

    path: Path

    @property
    def config(self) -> Path:
        """The complete, runnable config."""
        return self.path / "config.yaml"

    @property
    def effective(self) -> Path:
        """What the live objects hold."""
        return self.path / "effective.yaml"

    @property
    def log(self) -> Path:
        """The trial's own output."""
        return self.path / "trial.log"

    @property
    def error(self) -> Path:
        """The traceback of a failed trial."""
        return self.path / "error.txt"

    @property
    def worker(self) -> Path:
        """Names the worker that trains here, while it does."""
        return self.path / ".worker"

    @property
    def away(self) -> Path:
        """Stands here while the trial is on another machine, or may be: its storage may have what is newest.

        See `tune_cnn.search.left_elsewhere`. It is sent nowhere, and goes with the folder when that is fetched anew.
        """
        return self.path / ".away"

    @property
    def last(self) -> Path:
        """The whole state after the last epoch."""
        return self.path / "last"

    @property
    def best(self) -> Path:
        """The best epoch's model."""
        return self.path / "best"

    @property
    def outcomes(self) -> Path:
        """What a model of the finals answered to each image."""
        return self.path / "outcomes.npz"

    @property
    def pictures(self) -> Path:
        """Predictions over the best, the median and the worst test image; for segmentation."""
        return self.path / "pictures"


@dataclass(frozen=True)
class RunFolder:
    """The files of one search."""

    path: Path

    @property
    def space(self) -> Path:
        """The space as it was resolved."""
        return self.path / "space.yaml"

    @property
    def run(self) -> Path:
        """Versions, seed, data fingerprint, device, command."""
        return self.path / "run.json"

    @property
    def study(self) -> Path:
        """The truth."""
        return self.path / "study.db"

    @property
    def leaderboard(self) -> Path:
        """One row per trial, best first."""
        return self.path / "leaderboard.csv"

    @property
    def epochs(self) -> Path:
        """One row per trial and epoch."""
        return self.path / "epochs.csv"

    @property
    def skipped(self) -> Path:
        """One row per image that was left out, with the reason."""
        return self.path / "skipped.csv"

    @property
    def audit(self) -> Path:
        """One row per doubtful thing about the images, such as a near twin in another split."""
        return self.path / "audit.csv"

    @property
    def best(self) -> Path:
        """The best trial's model; a link that always names a whole folder."""
        return self.path / "best"

    @property
    def extending(self) -> Path:
        """What is about to take the place of study.db, run.json and space.yaml; there for a moment only."""
        return self.path / ".extending"

    @property
    def current_space(self) -> Path:
        """The space as it was resolved, where a kill may have come before it was put in its place."""
        waiting = self.extending / self.space.name
        return waiting if waiting.is_file() else self.space

    def earlier_space(self, number: int) -> Path:
        """Give the space that the search had before it was changed for the how-manieth time, from 1."""
        return self.path / f"space.{number}.yaml"

    @property
    def lock(self) -> Path:
        """Held by the one driver of this folder."""
        return self.path / ".driver.lock"

    @property
    def driver(self) -> Path:
        """Who holds the lock."""
        return self.path / ".driver.json"

    @property
    def finals(self) -> Path:
        """One row per configuration of the finals."""
        return self.path / "finals.csv"

    def final(self, trial: int, repeat: int) -> TrialFolder:
        """Give the folder of one repeat of a trial in the finals, whether it exists or not."""
        return TrialFolder(self.path / "finals" / f"{trial:04d}-{repeat}")

    def trial(self, number: int) -> TrialFolder:
        """Give the folder of one trial, whether it exists or not."""
        return TrialFolder(self.path / "trials" / f"{number:04d}")
