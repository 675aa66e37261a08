"""One trial, as a straight line from a config to its records. Knows neither Ray nor Optuna.

A search, `tune-cnn train` and the tests all call `run_trial`.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import torch

from tune_cnn import machine, progress
from tune_cnn.config import TrialConfig
from tune_cnn.data.cache import Cache
from tune_cnn.data.dataset import ImageData
from tune_cnn.data.resident import open_resident
from tune_cnn.errors import ChangedDataError, DataError, UnreadableImagesError
from tune_cnn.results.effective import write_effective
from tune_cnn.results.failures import write_traceback
from tune_cnn.results.records import EpochRecord, TrialFacts, TrialFolder
from tune_cnn.results.trial_files import tidy
from tune_cnn.sections.search import Metric
from tune_cnn.training.assembly import build_run
from tune_cnn.training.effective import read_back
from tune_cnn.training.folds import AnyTraining
from tune_cnn.training.keeping import Keeper

log = logging.getLogger(__name__)

_KEEPING_SECONDS = 600.0
"""A large model and its optimiser may take so long on their way to a slow disk."""

OnEpoch = Callable[[EpochRecord, TrialFacts, float | None], Any]


def nobody_objects() -> None:
    """Let an epoch be kept."""


def nobody_compares(_tree: Mapping[str, Any]) -> None:
    """Take in what was read back and do nothing."""


def nobody_listens(_epoch: EpochRecord, _facts: TrialFacts, _peak_memory_mb: float | None) -> None:
    """Take in an epoch and do nothing."""


def run_trial(
    config: TrialConfig,
    folder: TrialFolder,
    *,
    metric: Metric,
    cache: Cache,
    cache_features: bool = True,
    expected_data: str | None = None,
    on_epoch: OnEpoch = nobody_listens,
    on_read_back: Callable[[Mapping[str, Any]], Any] = nobody_compares,
    before_keeping: Callable[[], None] = nobody_objects,
) -> list[EpochRecord]:
    """Train one configuration from files to records; goes on where `folder` holds a checkpoint of it.

    Args:
        config: what to train.
        folder: where effective.yaml, the log, the checkpoints and the best model go.
        metric: what the best epoch is chosen by.
        cache: where decoded and augmented images are kept for all trials of this machine.
        cache_features: whether what frozen units give is kept there; if not, each epoch computes it, with the same
            result.
        expected_data: the fingerprint that the images must have; None takes them as they are.
        on_epoch: told of every epoch once it is kept, those before a resume included; may raise to stop. Then `best`
            may be an earlier epoch's than `last` tells of, see `tune_cnn.results.best_model`.
        on_read_back: told what effective.yaml holds whenever it is written: before the first epoch of each phase.
        before_keeping: called before anything of an epoch is written; may end the process.

    Returns:
        The record of every epoch.

    Raises:
        DataError: the images cannot be used; ChangedDataError if they are not the expected ones.
        WeightsError: the weights do not fit the backbone.
        TrialError: memory does not suffice; DivergedError if the loss is no longer finite.
    """
    with trial_log(folder):
        tidy(folder)
        _limit(config)
        data = _open_data(config, expected_data, cache)
        if data.note:
            log.warning("%s", data.note)

        def write_read_back(training: AnyTraining) -> None:
            on_read_back(write_effective(folder.effective, config, **read_back(training, config)))

        run, facts = build_run(
            config, data, metric, cache=cache, on_phase=write_read_back, cache_features=cache_features
        )
        frozen = f"{facts.frozen_units} of {facts.units} units frozen"
        log.info("%s, %s, on %s in %s", _name(config), frozen, facts.device, facts.precision)
        keeper = Keeper(folder, run, config, classes=data.classes, metric=metric)
        if keeper.resume():
            log.info("goes on after epoch %d", len(run.history))
        for record in run.history:
            on_epoch(record, facts, peak_memory_mb())
        for epoch in run.epochs():
            before_keeping()
            with progress.unmeasured(_KEEPING_SECONDS):
                keeper.keep(epoch)
            log.info("epoch %d, lr %.3g: %s", epoch.record.epoch, epoch.record.lr, _scores_text(epoch.record.scores))
            on_epoch(epoch.record, facts, peak_memory_mb())
        with progress.unmeasured(_KEEPING_SECONDS):
            keeper.finish()
        return run.history


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
            write_traceback(folder)
            raise
        finally:
            root.removeHandler(handler)


def _open_data(config: TrialConfig, expected: str | None, cache: Cache) -> ImageData:
    """Open the images, and make sure that they are those that all trials of a search share."""
    if expected is None:
        return open_resident(config.data, config.image, cache=cache)
    way_out = "bring back the images that the search began with and go on, or begin a new run: search with --name OTHER"
    try:
        data = open_resident(config.data, config.image, cache=cache, patient=True)
    except DataError as error:
        faults = error.reasons if isinstance(error, UnreadableImagesError) else error.faults
        raise ChangedDataError([*faults, f"the search began with images that could be read; {way_out}"]) from error
    if data.fingerprint != expected:
        prints = f"fingerprint {expected[:12]} then, {data.fingerprint[:12]} now"
        raise ChangedDataError(f"{config.data.root}: images have changed since the search began ({prints}); {way_out}")
    return data


def _limit(config: TrialConfig) -> None:
    """Begin with as many threads as the config says, and with a peak of memory that is this trial's own."""
    torch.set_num_threads(config.cpu_threads)
    machine.reset_peak_memory()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _name(config: TrialConfig) -> str:
    return f"{config.model.backbone_name}, {config.folds} folds" if config.folds else config.model.backbone_name


def _scores_text(scores: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in scores.items() if "_fold_" not in name)
