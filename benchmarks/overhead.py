"""What a trial costs besides training: from one trial's end to the next one's first step, through real Ray.

Both programs run the same trials of one epoch on a tiny network and a few tiny images, one at a time. The first gap is
left out: it belongs to a trial that filled caches and a worker that began.
"""

import json
import statistics
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from benchmarks.places import SPACES
from benchmarks.programs import ProgramError, Setting, search_ours, search_plain
from tune_cnn.results.records import RunFolder

SPACE = SPACES / "no_op.yaml"
BACKBONE = "test_efficientnet"
PX = 32


def measure(setting: Setting, folder: Path, *, trials: int, plain_trials: int) -> tuple[list[float], list[float]]:
    """Run both programs; give the gaps in seconds between their trials, ours first.

    Args:
        setting: tiny images, the backbone's weights, one trial at a time.
        folder: a new one, for what both leave.
        trials: how many of ours.
        plain_trials: how many of the plain program's.

    Raises:
        ProgramError: one of them failed.
    """
    sets = (f"search.trials={trials}",)
    ours = search_ours(SPACE, setting, folder / "ours", overrides=sets)
    search_plain(ours.trials[:plain_trials], setting, folder / "plain", px=PX, epochs=1, workers=0)
    return gaps_of_run(RunFolder(folder / "ours" / "run"), trials), gaps_of_records(folder / "plain" / "records.json")


def gaps_of_run(run: RunFolder, trials: int) -> list[float]:
    """Read the gaps between the trials of a run folder from their logs.

    A trial's line on its epoch is written once that epoch's files are; its first step began the epoch's seconds before
    (and the writing of the files, which is counted here as part of the gap).
    """
    ends = [_log_time(run.trial(number).log) for number in range(trials)]
    seconds = _epoch_seconds(run)
    starts = [end - seconds[number] for number, end in enumerate(ends)]
    return _gaps(list(zip(starts, ends, strict=True)))


def gaps_of_records(file: Path) -> list[float]:
    """Read the gaps between the trials of the plain program."""
    records = json.loads(file.read_text())
    spans = [(record["epochs"][0]["began"], record["epochs"][-1]["ended"]) for record in records]
    return _gaps(spans)


def median_gap(gaps: Sequence[float]) -> float:
    """Give the median gap in seconds, the first one left out."""
    return statistics.median(gaps[1:])


def _gaps(spans: Sequence[tuple[float, float]]) -> list[float]:
    """Give the time between each span's end and the next one's start, by their order in time."""
    ordered = sorted(spans)
    return [after[0] - before[1] for before, after in pairwise(ordered)]


def _log_time(log: Path) -> float:
    """Give when the first epoch was logged, in seconds since 1970."""
    lines = [line for line in log.read_text().splitlines() if " INFO epoch 1, " in line]
    if not lines:
        raise ProgramError(f"{log}: tells of no epoch")
    return datetime.strptime(lines[0].partition(" INFO ")[0], "%Y-%m-%d %H:%M:%S,%f").astimezone().timestamp()


def _epoch_seconds(run: RunFolder) -> dict[int, float]:
    rows = (line.split(",") for line in run.epochs.read_text().splitlines())
    head = next(rows)
    trial, seconds = head.index("trial"), head.index("seconds")
    return {int(row[trial]): float(row[seconds]) for row in rows}
