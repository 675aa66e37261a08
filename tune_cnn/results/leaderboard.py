"""The tables of a run, rebuilt from its records at will: leaderboard.csv and epochs.csv."""

from collections.abc import Iterable, Sequence
from typing import Any

from tune_cnn.results.records import FACTS, LEADERBOARD_HEAD, TrialRecord

Row = dict[str, Any]


def ranked(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Order by the best epoch's score; the earlier of equals first, trials without a score last."""

    def place(record: TrialRecord) -> tuple[bool, float, int]:
        best = record.best
        return best is None, -best.score if best else 0.0, record.trial

    return sorted(records, key=place)


def leaderboard_rows(records: Iterable[TrialRecord]) -> list[Row]:
    """Give one row per trial, best first. A trial without a score has no rank and no made-up value."""
    return [_row(rank, record) for rank, record in enumerate(ranked(records), start=1)]


def leaderboard_columns(rows: Sequence[Row]) -> list[str]:
    """Give the columns of DESIGN 8 in their order; those of scores and parameters as far as any row has them."""
    named = dict.fromkeys(column for row in rows for column in row)
    val = [column for column in named if column.startswith("val_")]
    test = [column for column in named if column.startswith("test_")]
    middle = [*LEADERBOARD_HEAD, *val, *test, *FACTS, "reason", "seed", "data"]
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
        "seed": record.seed,
        "data": record.data[:12],
        "reason": record.reason,
    }
    if best:
        row |= {name: value for name, value in best.scores.items() if name.startswith("val_")}
    if facts:
        row |= {name: getattr(facts, name) for name in FACTS if name != "peak_memory_mb"}
    row |= {f"test_{name}": value for name, value in record.test.items()}
    return row | dict(record.values)
