"""A running trial, or repeat of the finals, as its session and the screen see it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tune_cnn.results.records import EpochRecord
from tune_cnn.search.jobs import Job


@dataclass
class Live:
    """What is known of a job that runs."""

    job: Job
    epochs: list[EpochRecord] = field(default_factory=list)
    """In their order, those of earlier drivers too."""
    stop_reason: str = ""
    read_back: str = ""
    """The phase for which what its live objects hold was compared under this driver."""
    read_back_tree: Mapping[str, Any] | None = None
    """What effective.yaml holds, as its worker told, until it is compared; None where only the file tells."""

    @property
    def best_score(self) -> float | None:
        """The best score so far; None before the first epoch."""
        return max((epoch.score for epoch in self.epochs), default=None)

    @property
    def next_epoch(self) -> int:
        """The epoch that it is in."""
        return max((epoch.epoch for epoch in self.epochs), default=0) + 1

    def take_in(self, epoch: EpochRecord) -> EpochRecord | None:
        """Add an epoch; give the one whose place it takes, as it was told before. None where it is new."""
        known = {past.epoch: past for past in self.epochs}
        self.epochs = sorted((known | {epoch.epoch: epoch}).values(), key=lambda past: past.epoch)
        return known.get(epoch.epoch)
