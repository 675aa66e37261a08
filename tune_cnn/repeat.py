"""`tune-cnn train`: one configuration without Ray; for a trial of a run, held against what the run recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tune_cnn.config import TrialConfig
from tune_cnn.data.cache import Cache
from tune_cnn.errors import RunFolderError, SpaceFileError, TuneCnnError
from tune_cnn.invocation import program
from tune_cnn.models.weights import resolve_weights
from tune_cnn.results.display import line, word
from tune_cnn.results.failures import failure_of
from tune_cnn.results.records import EpochRecord, RunFolder, TrialFolder, TrialRecord
from tune_cnn.search.recorded import RecordedRun, read_recorded
from tune_cnn.sections.search import METRICS
from tune_cnn.trial import run_trial
from tune_cnn.urls import absolute
from tune_cnn.yaml_files import load_model, read_yaml


@dataclass(frozen=True)
class Before:
    """The trial of a run that a config belongs to."""

    run: RecordedRun
    trial: TrialRecord


def repeat_trial(
    config_file: Path,
    out: Path | None,
    *,
    cache: Cache,
    console: Console,
    weights_dir: Path | None = None,
    data_root: str | Path | None = None,
) -> None:
    """Train what `config_file` says into a new folder, and compare with the trial it belongs to, if it does.

    Args:
        config_file: any config; `RUN/trials/NNNN/config.yaml` repeats that trial.
        out: the new trial folder; by default one beside the working directory's runs that does not exist yet.
        cache: where decoded images and converted weights are kept.
        console: where the epochs and the verdict are shown.
        weights_dir: the user's folder of `BACKBONE*.safetensors`; None takes the file the config names, if any.
        data_root: where the images are now; None where the config says.

    Raises:
        InputError: the config, the weights, the images or the folder cannot be used.
        TrialError: the training cannot go on; raised once the verdict is shown.
    """
    config = _read_config(config_file)
    if data_root is not None:
        config = config.model_copy(update={"data": config.data.model_copy(update={"root": absolute(data_root)})})
    before = _recorded(config_file)
    folder = _new_folder(out, config.name)
    config = _with_weights(config, before, weights_dir, cache, console)
    metric = before.run.search.ranked_by if before else METRICS[config.task][0]
    epochs: list[EpochRecord] = []

    def show(epoch: EpochRecord, _facts: object, _memory: object) -> None:
        epochs.append(epoch)
        scores = ", ".join(f"{name} {value:.4f}" for name, value in epoch.scores.items())
        _say(console, f"epoch {epoch.epoch}: {scores}")

    _say(console, f"training {config.model.backbone_name} into {folder.path}")
    failure: TuneCnnError | None = None
    try:
        run_trial(config, folder, metric=metric, cache=cache, on_epoch=show)
    except TuneCnnError as error:
        failure = error
    if before:
        _say(console, verdict(before.trial, epochs, failure_of(failure).reason if failure else ""))
    if failure:
        raise failure


def verdict(before: TrialRecord, epochs: Sequence[EpochRecord], failure: str = "") -> str:
    """Say whether the repeated epochs are those recorded; a trial that was stopped early compares as far as it went.

    Args:
        before: the trial as it was recorded.
        epochs: those of the repetition.
        failure: what ended the repetition, `DivergedError: …`; empty if it came to its end.
    """
    name = f"trial {before.trial}"
    if change := _first_change(before.epochs, epochs):
        return f"not equal to {name}: {change}"
    if before.state == "failed":
        if failure == before.reason:
            return f"equal to {name}: after {len(epochs)} epochs it failed alike ({failure})"
        now = f"now with {failure}" if failure else f"now it went through {len(epochs)} epochs"
        return f"not equal to {name}: it failed with {before.reason}, {now}"
    if len(epochs) < len(before.epochs):
        now = f"now {len(epochs)}" + (f", and failed with {failure}" if failure else "")
        return f"not equal to {name}: it had {len(before.epochs)} epochs, {now}"
    if not before.epochs:
        return f"{name} recorded no epoch to compare with"
    return f"equal to {name} in every score of {len(before.epochs)} epochs"


def _first_change(before: Sequence[EpochRecord], now: Sequence[EpochRecord]) -> str:
    """Give the first score that differs in the epochs that both have; empty if none does."""
    for old, new in zip(before, now, strict=False):
        for name, value in old.scores.items():
            if new.scores.get(name) != value:
                return f"at epoch {old.epoch} {name} was {value!r}, now {new.scores.get(name)!r}"
    return ""


def _read_config(file: Path) -> TrialConfig:
    """Read a config; a space is taken for one easily.

    Raises:
        SpaceFileError: it cannot be read, or says what cannot be done; all faults at once.
    """
    tree = read_yaml(file).tree
    if isinstance(tree, dict) and "search" in tree:
        raise SpaceFileError(
            f"{file}: is a space, of many configurations; give one, such as runs/NAME/trials/0000/config.yaml, or run "
            f"`{program()} search {word(str(file))}`"
        )
    return load_model(file, TrialConfig)


def _recorded(config_file: Path) -> Before | None:
    """Find the trial of a run that a config belongs to; None for one that a user wrote."""
    folder = config_file.absolute().parent
    run = RunFolder(folder.parent.parent)
    if not (folder.parent.name == "trials" and folder.name.isdecimal() and run.study.is_file()):
        return None
    recorded = read_recorded(run.path)
    trial = next((record for record in recorded.trials if record.trial == int(folder.name)), None)
    return Before(recorded, trial) if trial else None


def _with_weights(
    config: TrialConfig, before: Before | None, weights_dir: Path | None, cache: Cache, console: Console
) -> TrialConfig:
    """Find the starting weights of a config that a user wrote, or of one whose file is gone since the search."""
    model = config.model
    there = model.weights_file is not None and Path(model.weights_file).is_file()
    if model.weights == "none" or (there and weights_dir is None):
        return config
    found = resolve_weights(model.backbone_name, model.weights, weights_dir=weights_dir, cache_dir=cache.folder)
    _say(console, f"weights: {found.source}")
    began = before and before.run.facts.weights.get(f"{model.backbone_name} {model.weights}")
    if before and began and began.sha256 != found.sha256:
        _say(console, f"note: trial {before.trial.trial} started from other weights, {began.file}")
    return config.model_copy(update={"model": model.model_copy(update={"weights_file": str(found.file)})})


def _new_folder(out: Path | None, name: str) -> TrialFolder:
    """Give the folder to train into: `out`, else the first `runs/NAME-train-N` that does not exist.

    Raises:
        RunFolderError: something is there already.
    """
    number = 1
    while out is None and (fresh := Path("runs") / f"{name}-train-{number}").exists():
        number += 1
    folder = TrialFolder((out or fresh).absolute())
    if folder.path.exists() and (not folder.path.is_dir() or any(folder.path.iterdir())):
        raise RunFolderError(f"{folder.path}: not an empty folder; write --out with a new one")
    return folder


def _say(console: Console, text: str) -> None:
    console.print(line(text), soft_wrap=True)
