"""Trials that train nothing, in the place of `tune_cnn.trial`: each score is a function of (config, seed, epoch).

All that they leave is real: a tiny network, its checkpoints, its best model, effective.yaml, written by the code that
writes them in a search. One number is carried from epoch to epoch in the network's weights and decides the scores, so a
trial that goes on from a wrong or stale state ends with other scores than one that was left alone.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from tune_cnn.config import TrialConfig
from tune_cnn.models.build import build_network
from tune_cnn.models.network import Network
from tune_cnn.results.effective import write_effective
from tune_cnn.results.records import EpochRecord, TrialFacts, TrialFolder
from tune_cnn.results.trial_files import tidy
from tune_cnn.sections.search import Metric
from tune_cnn.training.checkpoint import Checkpoint, frozen_digest, moving_state, restore_model
from tune_cnn.training.folds import Run
from tune_cnn.training.keeping import Keeper
from tune_cnn.training.loop import Epoch

CLASSES = ("cat", "dog")
TRAINED = "CHAOS_TRAINED"
"""The environment's name for a file that is told of every epoch as it begins: a line `FOLDER EPOCH PID`."""
EPOCH_SECONDS = "CHAOS_EPOCH_SECONDS"
"""The environment's name for what an epoch takes; nothing if it is not set."""
_STATES = 2**24  # float32 holds every whole number below
_SECONDS = 6.0  # of the keeper's clock, for an epoch: it syncs and writes the best model whole every other epoch
Told = tuple[EpochRecord, TrialFacts, float | None]


def install() -> None:
    """Take the place of the module that trains; Ray calls this once in each worker, before its first trial."""
    module = ModuleType("tune_cnn.trial")
    vars(module)["run_trial"] = run_trial
    sys.modules["tune_cnn.trial"] = module


def run_trial(
    config: TrialConfig,
    folder: TrialFolder,
    *,
    metric: Metric,
    on_epoch: Callable[..., Any],
    on_read_back: Callable[..., Any],
    before_keeping: Callable[[], None],
    **_given: object,
) -> None:
    """Go through the epochs of a config and tell of each, as `tune_cnn.trial.run_trial` does."""
    given = {"on_read_back": on_read_back, "before_keeping": before_keeping}
    for told in epochs(config, folder, metric=metric, **given):
        on_epoch(*told)


def epochs(
    config: TrialConfig,
    folder: TrialFolder,
    *,
    metric: Metric,
    before_keeping: Callable[[], None] = lambda: None,
    on_read_back: Callable[..., Any] = lambda _tree: None,
) -> Iterator[Told]:
    """Do what a trial does to its folder, epoch by epoch; goes on from a checkpoint."""
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.error.unlink(missing_ok=True)
    tidy(folder)
    training = StubTraining(config, folder)
    facts = _facts(training.model)
    seen = {"phase": "train", "frozen_units": facts.frozen_units}
    on_read_back(write_effective(folder.effective, config, live={}, observed=seen))
    run = Run([cast("Any", training)], stop_patience_epochs=None)
    clock = count(0, _SECONDS)
    keeper = Keeper(folder, run, config, classes=CLASSES, metric=metric, clock=lambda: next(clock))
    keeper.resume()
    for record in run.history:
        yield record, facts, None
    for epoch in run.epochs():
        before_keeping()
        keeper.keep(epoch)
        yield epoch.record, facts, None
    keeper.finish()


def trained(file: Path) -> Sequence[tuple[str, int, int]]:
    """Read what was told of epochs that began: (the trial folder's name, epoch, process), in their order."""
    if not file.exists():
        return []
    return [(name, int(epoch), int(pid)) for name, epoch, pid in map(str.split, file.read_text().splitlines())]


class StubTraining:
    """Stands where a Training stands."""

    def __init__(self, config: TrialConfig, folder: TrialFolder) -> None:
        torch.manual_seed(config.seed)
        self.model = build_network(config.model, len(CLASSES), px=config.image.px)
        self.history: list[EpochRecord] = []
        self._config, self._folder = config, folder
        self._digest = frozen_digest(self.model, self.model.frozen_units)
        self._put(_next_state(0, f"{config.seed} {config.training.optimizer.lr!r}"))

    def epochs(self) -> Iterator[Epoch]:
        while len(self.history) < self._config.training.epochs:
            number = len(self.history) + 1
            _tell(self._folder, number)
            self._put(_next_state(self._state, f"epoch {number}"))
            record = self._record(number)
            best_before = max((past.score for past in self.history), default=-1.0)
            self.history.append(record)
            right = int(record.score * 1000)
            counts = np.array([[right, 1000 - right], [0, 1]], np.int64)
            yield Epoch(record, torch.from_numpy(counts).numpy(), record.score > best_before)

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(
            epoch=len(self.history),
            model=moving_state(self.model),
            frozen_units=self.model.frozen_units,
            frozen_sha256=self._digest,
            optimizer={"state": {0: {"step": torch.tensor(float(len(self.history)))}}, "param_groups": []},
            schedule={},
            stopping={},
            phase={},
            history=[record.as_json() for record in self.history],
            step={},
        )

    def resume(self, checkpoint: Checkpoint) -> None:
        restore_model(checkpoint, self.model)
        self.history = [EpochRecord.from_json(record) for record in checkpoint.history]

    def _record(self, epoch: int) -> EpochRecord:
        """An epoch whose score rises from lower to higher, with dips, and higher for some rates than for others."""
        lr = self._config.training.optimizer.lr
        quality = 1 / (1 + abs(np.log10(lr) + 3))
        score = float(round(0.9 * quality * (1 - 0.5**epoch) + 0.1 * self._state / _STATES, 9))
        scores = {"train_loss": 1.0, "val_loss": 1 - score, "val_accuracy": score, "val_macro_f1": score}
        return EpochRecord(epoch, 0.5, lr, self.model.frozen_units, score=score, scores=scores, ms_per_image=1.0)

    @property
    def _carrier(self) -> Tensor:
        """The last of the head's biases."""
        return list(self.model.parameters())[-1]

    @property
    def _state(self) -> int:
        return round(self._carrier.detach()[0].item() * _STATES)

    def _put(self, state: int) -> None:
        with torch.no_grad():
            self._carrier[0] = state / _STATES


def _next_state(state: int, step: str) -> int:
    return int.from_bytes(sha256(f"{state} {step}".encode()).digest()[:3])


def _tell(folder: TrialFolder, epoch: int) -> None:
    if file := os.environ.get(TRAINED):
        handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, f"{folder.path.name} {epoch} {os.getpid()}\n".encode())
        os.close(handle)
    if seconds := os.environ.get(EPOCH_SECONDS):
        import time

        time.sleep(float(seconds))


def _facts(model: Network) -> TrialFacts:
    total, trainable = model.parameter_counts()
    return TrialFacts(total, trainable, 0.01, model.frozen_units, len(model.units), "cpu")
