"""A configuration trained once per fold, epoch by epoch side by side: its score is the mean over the folds.

Side by side and not one after the other, so that each epoch has a mean that early stopping, ASHA and the choice of the
best epoch can go by, as they do for a single training.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from tune_cnn.results.best_model import BestEpoch
from tune_cnn.results.records import EpochRecord
from tune_cnn.training.baseline import LinearBaseline
from tune_cnn.training.checkpoint import load_checkpoint, save_checkpoint
from tune_cnn.training.loop import Epoch, Training, evaluate
from tune_cnn.training.plan import WARM_UP, EarlyStopping

AnyTraining = Training | LinearBaseline


class Run:
    """One training, or one per fold, as a trial sees it: epochs come out, state goes to a folder and comes back."""

    def __init__(self, trainings: Sequence[AnyTraining], *, stop_patience_epochs: int | None) -> None:
        """Take trainings that differ by their images alone.

        Args:
            trainings: one; or one per fold, which do not stop early by themselves.
            stop_patience_epochs: after how many epochs without a better mean folds are stopped, once all of them are
                through their warm-up; None never.
        """
        self.trainings = tuple(trainings)
        self._patience = stop_patience_epochs
        self._best: BestEpoch | None = None

    @property
    def first(self) -> AnyTraining:
        """The training whose model is kept: of folds the first one's."""
        return self.trainings[0]

    @property
    def history(self) -> list[EpochRecord]:
        """The epochs that all folds have gone through."""
        return [mean_record(records) for records in zip(*(one.history for one in self.trainings), strict=False)]

    def epochs(self) -> Iterator[Epoch]:
        """Train and yield epoch by epoch, from the first or from where `load` left off.

        Raises:
            DivergedError: a loss is no longer finite; the epochs before it stand.
        """
        if len(self.trainings) == 1:
            yield from self.first.epochs()
            return
        stopping = EarlyStopping(self._patience)
        for record in self.history:
            self._take_in(stopping, record)
        waiting = [one.epochs() for one in self.trainings]
        while not stopping.exhausted:
            epoch = len(self.history) + 1
            parts = [self._part(one, more, epoch) for one, more in zip(self.trainings, waiting, strict=True)]
            if None in parts:
                return
            known = [part for part in parts if part is not None]
            record = mean_record([part.record for part in known])
            counts = sum((part.val_confusion for part in known[1:]), known[0].val_confusion)
            yield Epoch(record, counts, self._take_in(stopping, record))

    def save(self, folder: Path, epoch: Epoch, *, durable: bool = True) -> None:
        """Write the state after an epoch, the last one. A kill may leave folds one apart; `epochs` evens them out.

        The first fold, whose model is kept, tells which epoch is the best. It comes last: what it tells holds for all.
        """
        if epoch.is_best:
            number = epoch.record.epoch
            self._best = BestEpoch(number, self.first.history[number - 1].score, epoch.val_confusion.tolist())
        first, *others = zip(self._places(folder), self.trainings, strict=True)
        for place, training in others:
            save_checkpoint(place, training.checkpoint(), None, durable=durable)
        place, training = first
        self._best = save_checkpoint(place, training.checkpoint(), self._best, durable=durable)

    def load(self, folder: Path) -> bool:
        """Go on from what `save` wrote; False if there is none for every fold, and the trainings begin anew."""
        places = zip(self._places(folder), self.trainings, strict=True)
        found = [load_checkpoint(place, training.model) for place, training in places]
        known = [one for one in found if one is not None]
        if len(known) < len(self.trainings):
            return False
        for training, (checkpoint, _best) in zip(self.trainings, known, strict=True):
            training.resume(checkpoint)
        _, self._best = known[0]
        return True

    def _take_in(self, stopping: EarlyStopping, record: EpochRecord) -> bool:
        """Take in an epoch's mean; True if it is the best so far. Nothing is waited for while a fold still warms up."""
        is_best = stopping.update(record.epoch, record.score)
        if any(one.history[record.epoch - 1].phase == WARM_UP for one in self.trainings):
            stopping.begin(self._patience)
        return is_best

    def _places(self, folder: Path) -> list[Path]:
        if len(self.trainings) == 1:
            return [folder]
        return [folder / f"fold-{number}" for number in range(1, len(self.trainings) + 1)]

    @staticmethod
    def _part(training: AnyTraining, more: Iterator[Epoch], epoch: int) -> Epoch | None:
        """Give one fold's epoch; one that a killed run had saved for this fold is only scored again."""
        if len(training.history) < epoch:
            return next(more, None)
        counts = evaluate(training.model, training.val, training.objective).confusion()
        return Epoch(training.history[epoch - 1], counts, is_best=False)


def mean_record(records: Sequence[EpochRecord]) -> EpochRecord:
    """Sum up one epoch of all folds.

    Returns:
        Scores are means, beside `val_*_std`, the sample standard deviation, and `val_*_fold_1` and so on for each val
        score; seconds add up. A single record is given as it is.
    """
    if len(records) == 1:
        return records[0]
    first = records[0]
    micro = [record.micro_batch_size for record in records if record.micro_batch_size is not None]
    times = [record.ms_per_image for record in records if record.ms_per_image is not None]
    return EpochRecord(
        epoch=first.epoch,
        phase=first.phase,
        seconds=round(sum(record.seconds for record in records), 4),
        lr=first.lr,
        frozen_units=first.frozen_units,
        score=statistics.fmean(record.score for record in records),
        scores=_mean_scores([record.scores for record in records]),
        ms_per_image=min(times, default=None),
        micro_batch_size=min(micro, default=None),
    )


def _mean_scores(folds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    means = {name: statistics.fmean(fold[name] for fold in folds) for name in folds[0]}
    for name in [name for name in means if name.startswith("val_")]:
        # Not statistics.stdev, which raises where a score is NaN.
        means[f"{name}_std"] = float(np.std([fold[name] for fold in folds], ddof=1))
        means |= {f"{name}_fold_{number}": fold[name] for number, fold in enumerate(folds, start=1)}
    return means
