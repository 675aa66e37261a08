"""Run the two programs, each in fresh processes with empty caches, and read what they left."""

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.material import Images
from benchmarks.measured import Searched, Trained
from benchmarks.places import ROOT
from tune_cnn.config import TrialConfig
from tune_cnn.results.records import RunFolder
from tune_cnn.yaml_files import load_model

OURS, PLAIN = "tune-cnn", "plain"
_COMMAND = Path(sys.executable).parent / "tune-cnn"
_PLAIN = Path(__file__).parent / "plain_ray.py"
# Modules of ours set variables of Ray's when they are imported, here too: the plain program must not be given those.
_NOT_INHERITED = ("RAY_", "TUNE_")
# Both import albumentations, which would ask the network for its newest version.
_ENVIRONMENT = {"PYTHONPATH": str(ROOT), "NO_ALBUMENTATIONS_UPDATE": "1", "RAY_USAGE_STATS_ENABLED": "0"}


class ProgramError(Exception):
    """A program that was to be measured has failed."""


@dataclass(frozen=True)
class Setting:
    """What both programs are told alike."""

    images: Images
    weights: Mapping[str, Path]
    concurrent: int
    gpus_per_trial: float


def search_ours(space: Path, setting: Setting, folder: Path, *, overrides: Sequence[str] = ()) -> Searched:
    """Run `tune-cnn search` with an empty cache in a new `folder`; trials come from its own sampler.

    Raises:
        ProgramError: the command failed.
    """
    weights = next(iter(setting.weights.values())).parent
    command = [
        *(str(_COMMAND), "search", str(space), "--data", str(setting.images.folder), "--weights", str(weights)),
        *("--out", str(folder), "--name", "run", "--cache-dir", str(folder / "cache")),
        *("--concurrent", str(setting.concurrent), "--gpus-per-trial", str(setting.gpus_per_trial)),
        *(part for override in overrides for part in ("--set", override)),
    ]
    run, began = RunFolder(folder / "run"), time.time()
    seconds = timed(command, folder / "output.txt")
    handed_out, last_word = _span(run)
    return Searched(OURS, seconds, read_run(run), handed_out - began, last_word - handed_out)


def _span(run: RunFolder) -> tuple[float, float]:
    """Give when the driver handed out the first trial, and when the last trial wrote to its log."""
    trials = list(run.path.glob("trials/*"))
    handed_out = min((trial / "config.yaml").stat().st_mtime for trial in trials)
    return handed_out, max((trial / "trial.log").stat().st_mtime for trial in trials)


def read_run(run: RunFolder) -> tuple[Trained, ...]:
    """Read the trials of a run folder in the order of their numbers.

    Raises:
        ProgramError: one of them did not come to its end.
    """
    rows = sorted(_rows(run.leaderboard), key=lambda row: int(row["trial"]))
    unfinished = [row["trial"] for row in rows if row["state"] != "complete"]
    if unfinished:
        raise ProgramError(f"{run.path}: trials {', '.join(unfinished)} are not complete; see their trial.log")
    epochs = _rows(run.epochs)
    return tuple(_trained(run, row, [epoch for epoch in epochs if epoch["trial"] == row["trial"]]) for row in rows)


def _trained(run: RunFolder, row: Mapping[str, str], epochs: Sequence[Mapping[str, str]]) -> Trained:
    config = load_model(run.trial(int(row["trial"])).config, TrialConfig)
    ordered = sorted(epochs, key=lambda epoch: int(epoch["epoch"]))
    return Trained(
        backbone=config.model.backbone_name,
        frozen_units=int(row["frozen_units"]),
        lr=config.training.optimizer.lr,
        dropout=config.model.head.dropout,
        scores=tuple(float(epoch["val_accuracy"]) for epoch in ordered),
        epoch_seconds=tuple(float(epoch["seconds"]) for epoch in ordered),
    )


def search_plain(
    trials: Sequence[Trained], setting: Setting, folder: Path, *, px: int, epochs: int, workers: int
) -> Searched:
    """Run the plain program in a new `folder` on the configurations of another program's trials.

    Raises:
        ProgramError: the program failed.
    """
    folder.mkdir(parents=True)
    configs = folder / "configs.json"
    configs.write_text(json.dumps([trial.as_point() for trial in trials]))
    command = [
        *(sys.executable, str(_PLAIN), "--data", str(setting.images.folder), "--configs", str(configs)),
        *("--weights", json.dumps({name: str(file) for name, file in setting.weights.items()})),
        *("--out", str(folder), "--px", str(px), "--epochs", str(epochs), "--workers", str(workers)),
        *("--concurrent", str(setting.concurrent), "--gpus-per-trial", str(setting.gpus_per_trial)),
    ]
    seconds = timed(command, folder / "output.txt")
    return Searched(PLAIN, seconds, read_records(folder / "records.json"))


def read_records(file: Path) -> tuple[Trained, ...]:
    """Read what the plain program recorded, in the order of its list.

    Raises:
        ProgramError: a trial has no epoch.
    """
    records = json.loads(file.read_text())
    if not all(record["epochs"] for record in records):
        raise ProgramError(f"{file}: a trial of the plain program has failed; see output.txt beside it")
    return tuple(
        Trained(
            **{name: record["config"][name] for name in ("backbone", "frozen_units", "lr", "dropout")},
            scores=tuple(epoch["val_accuracy"] for epoch in record["epochs"]),
            epoch_seconds=tuple(epoch["ended"] - epoch["began"] for epoch in record["epochs"]),
        )
        for record in records
    )


def best_workers(
    trials: Sequence[Trained], setting: Setting, folder: Path, *, px: int, counts: Sequence[int] = (0, 1, 2)
) -> tuple[int, dict[int, float]]:
    """Try the plain program with each number of DataLoader workers, for two epochs of one trial per slot.

    Returns:
        The number with the shortest second epoch, and the mean seconds of that epoch by number.

    Raises:
        ProgramError: the program failed.
    """
    tried = {}
    for count in counts:
        place = folder / f"workers-{count}"
        found = search_plain(trials[: setting.concurrent], setting, place, px=px, epochs=2, workers=count)
        tried[count] = sum(trial.epoch_seconds[1] for trial in found.trials) / len(found.trials)
    return min(tried, key=lambda count: tried[count]), tried


def timed(command: Sequence[str], output: Path) -> float:
    """Run a command to its end, with its output in a file; give the seconds from its start to its end.

    Raises:
        ProgramError: it failed; with the end of its output.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    own = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
    with output.open("w") as file:
        began = time.perf_counter()
        with subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=own | _ENVIRONMENT) as program:
            try:
                code = program.wait()
            finally:
                program.terminate()  # if we were interrupted; both programs then see to their workers
        seconds = time.perf_counter() - began
    if code:
        raise ProgramError(f"{command[0]} ended with {code}; {output} ends with:\n{output.read_text()[-2000:]}")
    return seconds


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as text:
        return list(csv.DictReader(text))
