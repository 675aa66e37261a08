"""What a trial keeps of its training as it goes: the state after each epoch, and the best model, whole.

Each epoch is kept at once, so that a kill costs one at most; what is dear is done every few seconds only.
"""

import shutil
import time
from collections.abc import Callable

from tune_cnn.config import TrialConfig
from tune_cnn.models.saved import save_model
from tune_cnn.results.best_model import bring_up_to_date, has_sound_best
from tune_cnn.results.confusion import write_confusion
from tune_cnn.results.records import TrialFolder
from tune_cnn.results.trial_files import new_best
from tune_cnn.sections.search import Metric
from tune_cnn.training.folds import Run
from tune_cnn.training.loop import Epoch

SECONDS_BETWEEN = 10.0
"""Between two times that the state is synced, and the best model is written whole."""


class Keeper:
    """Keeps one trial's states and its best model in its folder."""

    def __init__(
        self,
        folder: TrialFolder,
        run: Run,
        config: TrialConfig,
        *,
        classes: tuple[str, ...],
        metric: Metric,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep a run that has not begun.

        Args:
            folder: of the trial.
            run: the training, or the trainings of all folds.
            config: what is trained.
            classes: names of the model's answers.
            metric: what the best epoch is chosen by.
            clock: seconds that only go forward.
        """
        self._folder, self._run, self._config, self._classes, self._metric = folder, run, config, classes, metric
        self._clock = clock
        self._due = clock() + SECONDS_BETWEEN
        self._has_best = False

    def resume(self) -> bool:
        """Let the run go on from what is kept; False if there is nothing to go on from, and it begins anew."""
        self._has_best = has_sound_best(self._folder) and self._run.load(self._folder.last)
        if not self._has_best:  # a model of other weights must not be taken for the first half of the next one
            shutil.rmtree(self._folder.last, ignore_errors=True)
        return self._has_best

    def keep(self, epoch: Epoch) -> None:
        """Keep what the run is after an epoch, the last one.

        Raises:
            OSError: the disk is full or cannot be written.
        """
        if epoch.is_best and not self._has_best:
            self._write_best(epoch)
            self._has_best = True
        due = self._clock() >= self._due
        self._run.save(self._folder.last, epoch, durable=due)
        if due:
            self._write_best(epoch) if epoch.is_best else bring_up_to_date(self._folder)
            self._due = self._clock() + SECONDS_BETWEEN

    def finish(self) -> None:
        """Let the best model be the best epoch's, now that the training is over.

        Raises:
            OSError: the disk is full or cannot be written.
        """
        bring_up_to_date(self._folder)

    def _write_best(self, epoch: Epoch) -> None:
        """Write the model with its own score: of folds the first one's, which `evaluate` gives again."""
        number, training, config = epoch.record.epoch, self._run.first, self._config
        score = training.history[number - 1].score
        with new_best(self._folder, number) as part:
            save_model(
                part, training.model, config, classes=self._classes, metric=self._metric, score=score, epoch=number
            )
            write_confusion(part, "val", epoch.val_confusion, self._classes, task=config.task, durable=False)
