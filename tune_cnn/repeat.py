"""`tune-cnn train`: one configuration without Ray; for a trial of a run, held against what the run recorded."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tune_cnn.config import TrialConfig
from tune_cnn.errors import RunFolderError
from tune_cnn.results.display import line
from tune_cnn.results.records import EpochRecord, RunFolder, TrialFolder, TrialRecord
from tune_cnn.search.study import Study
from tune_cnn.sections.search import METRICS, Metric, SearchConfig
from tune_cnn.trial import run_trial
from tune_cnn.yaml_files import load_model, read_yaml


def repeat_trial(config_file: Path, out: Path | None, *, cache_dir: Path, console: Console) -> None:
    """Train what `config_file` says into a new folder, and compare with the trial it belongs to, if it does.

    Args:
        config_file: any config; `RUN/trials/NNNN/config.yaml` repeats that trial.
        out: the new trial folder; by default one beside the working directory's runs that does not exist yet.
        cache_dir: where decoded images are kept.
        console: where the epochs and the verdict are shown.

    Raises:
        InputError: the config or the folder cannot be used.
    """
    config = load_model(config_file, TrialConfig)
    metric, before = _recorded(config_file, METRICS[config.task][0])
    folder = TrialFolder((out or _fresh(Path("runs"), config.name)).absolute())
    if folder.path.exists() and any(folder.path.iterdir()):
        raise RunFolderError(f"{folder.path}: not empty; write --out with a new folder")

    def show(epoch: EpochRecord, _facts: object, _memory: object) -> None:
        scores = ", ".join(f"{name} {value:.4f}" for name, value in epoch.scores.items())
        console.print(line(f"epoch {epoch.epoch}: {scores}"), soft_wrap=True)

    console.print(line(f"training {config.model.backbone} into {folder.path}"), soft_wrap=True)
    epochs = run_trial(config, folder, metric=metric, cache_dir=cache_dir, on_epoch=show)
    if before:
        console.print(line(verdict(before, epochs)), soft_wrap=True)


def verdict(before: TrialRecord, epochs: Sequence[EpochRecord]) -> str:
    """Say whether the repeated epochs are those recorded; a trial that was stopped early compares as far as it went."""
    if not before.epochs:
        return f"trial {before.trial} recorded no epoch to compare with"
    for old, new in zip(before.epochs, epochs, strict=False):
        for name, value in old.scores.items():
            if new.scores.get(name) != value:
                change = f"{name} was {value!r}, now {new.scores.get(name)!r}"
                return f"not equal to trial {before.trial}: at epoch {old.epoch} {change}"
    compared = min(len(before.epochs), len(epochs))
    if compared < len(before.epochs):
        return f"not equal to trial {before.trial}: it had {len(before.epochs)} epochs, now {len(epochs)}"
    return f"equal to trial {before.trial} in every score of {compared} epochs"


def _recorded(config_file: Path, default: Metric) -> tuple[Metric, TrialRecord | None]:
    """Find the metric and the trial that a config in a run folder belongs to; `default` for one outside any run."""
    folder = config_file.absolute().parent
    run = RunFolder(folder.parent.parent)
    if not (folder.parent.name == "trials" and folder.name.isdigit() and run.study.is_file()):
        return default, None
    search = SearchConfig.model_validate(read_yaml(run.space).tree["search"])
    records = Study.read(run.study, search).records()
    return search.metric, next((record for record in records if record.trial == int(folder.name)), None)


def _fresh(parent: Path, name: str) -> Path:
    number = 1
    while (folder := parent / f"{name}-train-{number}").exists():
        number += 1
    return folder
