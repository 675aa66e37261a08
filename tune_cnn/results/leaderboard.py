"""The tables of a run, rebuilt from its records at will: leaderboard.csv and epochs.csv."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tune_cnn.results.pareto import on_front, signed
from tune_cnn.results.records import FACTS, LEADERBOARD_HEAD, TrialRecord

Row = dict[str, Any]

# What a trial has more of the longer it runs: of one that was cut short it says nothing.
_GROWING = ("seconds", "epochs")


def ranked(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Order by the best epoch's score; the earlier of equals first, trials without a score last."""
    return sorted(records, key=place_of)


def place_of(record: TrialRecord) -> tuple[bool, float, int]:
    """Give what trials are ordered by: the lower, the better."""
    best = record.best
    return best is None, -best.score if best else 0.0, record.trial


def leaderboard_rows(records: Iterable[TrialRecord], measures: Sequence[str] = ()) -> list[Row]:
    """Give one row per trial, best first. A trial without a score has no rank and no made-up value.

    Args:
        records: of the trials.
        measures: columns, with a `-` where lower is better; with two or more, the column `front` marks the trials that
            no other beats in all of them. A running trial is never marked, nor a stopped one by seconds or epochs,
            which it is only low in because it was cut short.
    """
    rows = [_row(rank, record) for rank, record in enumerate(ranked(records), start=1)]
    if len(measures) < 2:
        return rows
    values = [[_measured(row, *one) for one in signed(measures)] for row in rows]
    front = on_front(np.array(values, float).reshape(-1, len(measures)))
    return [{**row, "front": bool(marked)} for row, marked in zip(rows, front, strict=True)]


def leaderboard_columns(rows: Sequence[Row]) -> list[str]:
    """Give the columns of DESIGN 8 in their order; those of scores and parameters as far as any row has them."""
    named = dict.fromkeys(column for row in rows for column in row)
    val = [column for column in named if column.startswith("val_")]
    test = [column for column in named if column.startswith("test_")]
    front = ["front"] if "front" in named else []
    outside = ["outside"] if "outside" in named else []
    middle = [*LEADERBOARD_HEAD, *front, *outside, *val, *test, *FACTS, "reason", "seed", "data"]
    parameters = sorted(set(named) - set(middle) - {"run"})
    return [*(["run"] if "run" in named else []), *middle, *parameters]


def epoch_rows(records: Iterable[TrialRecord]) -> list[Row]:
    """Give one row per trial and epoch, in the order of the trials."""
    ordered = sorted(records, key=lambda record: record.trial)
    return [{"trial": record.trial, **epoch.row()} for record in ordered for epoch in record.epochs]


def epoch_columns(rows: Sequence[Row]) -> list[str]:
    """Give trial, epoch, phase, seconds, lr, frozen_units, then every score."""
    head = ("trial", "epoch", "phase", "seconds", "lr", "frozen_units")
    return [*head, *dict.fromkeys(column for row in rows for column in row if column not in head)]


def _measured(row: Row, sign: float, name: str) -> float:
    known = row["score"] is not None and row["state"] != "running"
    whole = row["state"] == "complete" or name not in _GROWING
    value = row.get(name) if known and whole else None
    return float("nan") if value is None else sign * float(value)


def _row(rank: int, record: TrialRecord) -> Row:
    best, facts = record.best, record.facts
    row: Row = {
        "rank": rank if best else None,
        "trial": record.trial,
        "state": record.state,
        "score": best.score if best else None,
        "best_epoch": best.epoch if best else None,
        "epochs": len(record.epochs),
        "seconds": round(record.seconds, 3),
        "peak_memory_mb": record.peak_memory_mb,
        "ms_per_image": record.ms_per_image,
        "micro_batch_size": record.micro_batch_size,
        "seed": record.seed,
        "data": record.data[:12],
        "reason": record.reason,
    }
    if best:
        row |= {name: value for name, value in best.scores.items() if name.startswith("val_")}
    if facts:
        row |= {name: getattr(facts, name) for name in FACTS if hasattr(facts, name)}
    row |= {f"test_{name}": value for name, value in record.test.items()}
    if record.outside:
        row["outside"] = True
    return row | dict(record.values)
