"""One trial, as a straight line from a config to its records. Knows neither Ray nor Optuna.

A search, `tune-cnn train` and the tests all call `run_trial`.
"""

import logging
import shutil
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch

from tune_cnn import machine
from tune_cnn.config import TrialConfig
from tune_cnn.data.augment import Augmenter, build_policy
from tune_cnn.data.dataset import ImageData, SplitImages, open_data
from tune_cnn.files import new_folder, point_to, write_whole
from tune_cnn.models.build import build_network
from tune_cnn.models.network import Network
from tune_cnn.models.saved import save_model
from tune_cnn.results.confusion import write_confusion
from tune_cnn.results.effective import write_effective
from tune_cnn.results.records import EpochRecord, TrialFacts, TrialFolder
from tune_cnn.sections.search import Metric
from tune_cnn.training.batches import Batches, best_device
from tune_cnn.training.checkpoint import load_checkpoint, save_checkpoint
from tune_cnn.training.effective import read_back
from tune_cnn.training.loop import Epoch, Training
from tune_cnn.training.objective import objective_for

log = logging.getLogger(__name__)

OnEpoch = Callable[[EpochRecord, TrialFacts, float | None], Any]


def nobody_listens(_epoch: EpochRecord, _facts: TrialFacts, _peak_memory_mb: float | None) -> None:
    """Take in an epoch and do nothing."""


def run_trial(
    config: TrialConfig, folder: TrialFolder, *, metric: Metric, cache_dir: Path, on_epoch: OnEpoch = nobody_listens
) -> list[EpochRecord]:
    """Train one configuration from files to records; goes on where `folder` holds a checkpoint of it.

    Args:
        config: what to train.
        folder: where effective.yaml, the log, the checkpoints and the best model go.
        metric: what the best epoch is chosen by.
        cache_dir: where decoded images are kept for all trials of this machine.
        on_epoch: told of every epoch once its files are written, those before a resume included; may raise to stop.

    Returns:
        The record of every epoch.

    Raises:
        DataError: the images cannot be used.
        WeightsError: the weights do not fit the backbone.
        DivergedError: the loss is no longer finite.
    """
    with trial_log(folder):
        _seed(config)
        data = open_data(config.data, config.image, cache_dir=cache_dir)
        model = build_network(config.model, len(data.classes)).to(best_device())
        facts = _facts(model)
        augmenter = build_policy(config.augment, config.image.px, masks=data.has_masks)
        training = _training(config, model, data, augmenter, metric)
        write_effective(folder.effective, config, **read_back(training, model, augmenter))
        log.info(
            "%s, %d of %d units frozen, on %s", config.model.backbone, facts.frozen_units, facts.units, facts.device
        )
        if checkpoint := load_checkpoint(folder.last):
            training.resume(checkpoint)
            log.info("goes on after epoch %d", checkpoint.epoch)
        for record in training.history:
            on_epoch(record, facts, peak_memory_mb())
        for epoch in training.epochs():
            if epoch.is_best:
                _keep_best(folder, epoch, model, config, data.classes, metric)
            save_checkpoint(folder.last, training.checkpoint())
            log.info("epoch %d, lr %.3g: %s", epoch.record.epoch, epoch.record.lr, _scores_text(epoch.record.scores))
            on_epoch(epoch.record, facts, peak_memory_mb())
        return training.history


def score_of(metric: Metric) -> Callable[[Mapping[str, float]], float]:
    """Give the function from an epoch's scores to what is ranked: higher is better, a leading `-` turns round."""
    sign, name = (-1.0, metric[1:]) if metric.startswith("-") else (1.0, metric)
    return lambda scores: sign * float(scores[name])


def peak_memory_mb() -> float:
    """Give the highest memory of this trial in MiB: of the GPU where there is one, else of the process."""
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return machine.peak_memory_mb()


@contextmanager
def trial_log(folder: TrialFolder) -> Iterator[None]:
    """Send everything the trial says to its log, and a traceback to error.txt too if it fails."""
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.error.unlink(missing_ok=True)
    with folder.log.open("a", buffering=1) as file, redirect_stdout(file), redirect_stderr(file):
        handler = logging.StreamHandler(file)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        root = logging.getLogger("tune_cnn")
        root.setLevel(logging.INFO)
        root.addHandler(handler)
        try:
            yield
        except Exception:  # whatever went wrong is written down, and goes on up
            write_whole(folder.error, traceback.format_exc())
            raise
        finally:
            root.removeHandler(handler)


def _seed(config: TrialConfig) -> None:
    torch.set_num_threads(config.cpu_threads)
    torch.manual_seed(config.seed)
    machine.reset_peak_memory()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _facts(model: Network) -> TrialFacts:
    total, trainable = model.parameter_counts()
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    return TrialFacts(
        parameters=total,
        trainable_parameters=trainable,
        model_mb=round(size / 2**20, 3),
        frozen_units=model.frozen_units,
        units=len(model.units),
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    )


def _training(config: TrialConfig, model: Network, data: ImageData, augmenter: Augmenter, metric: Metric) -> Training:
    per_class = data.splits["train"].per_class(len(data.classes)).tolist()
    return Training(
        model=model,
        frozen_units=model.frozen_units,
        train=_batches(data.splits["train"], model, config.training.batch_size),
        val=_batches(data.splits["val"], model, config.training.batch_size),
        augment=None if config.augment == "none" else augmenter.view,
        objective=objective_for(config.task, config.training, per_class),
        config=config.training,
        seed=config.seed,
        score_of=score_of(metric),
    )


def _batches(split: SplitImages, model: Network, batch_size: int) -> Batches:
    return Batches.of(
        split.images,
        split.targets,
        batch_size=batch_size,
        preprocessing=model.preprocessing,
        device=best_device(),
    )


def _keep_best(
    folder: TrialFolder, epoch: Epoch, model: Network, config: TrialConfig, classes: tuple[str, ...], metric: Metric
) -> None:
    """Put the model beside the one that was the best, let `best` name it, and only then delete the old one."""
    old = folder.best.resolve() if folder.best.is_symlink() else None
    whole = folder.path / f".best-{epoch.record.epoch:05d}"
    shutil.rmtree(whole, ignore_errors=True)  # left by a kill between the two steps
    with new_folder(whole) as part:
        save_model(
            part, model, config, classes=classes, metric=metric, score=epoch.record.score, epoch=epoch.record.epoch
        )
        write_confusion(part, "val", epoch.val_confusion, classes, task=config.task)
    point_to(folder.best, whole)
    if old and old != whole:
        shutil.rmtree(old, ignore_errors=True)


def _scores_text(scores: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
