"""Confusion matrices and scores per class as CSV files."""

from collections.abc import Sequence
from pathlib import Path

from tune_cnn.config import Task
from tune_cnn.results.scores import CLASS_COLUMNS, Counts, class_scores
from tune_cnn.results.tables import write_csv


def write_confusion(
    folder: Path, split: str, confusion: Counts, classes: Sequence[str], *, task: Task, durable: bool = True
) -> None:
    """Write `SPLIT_confusion.csv` (a row per true class, a column per predicted one) and `SPLIT_classes.csv`.

    Args:
        folder: where the two files go.
        split: val or test.
        confusion: (C, C) counts.
        classes: C names.
        task: what was counted, images or pixels.
        durable: as for `tune_cnn.files.write_whole`.
    """
    # Columns carry the class number too: two names that a spreadsheet shows alike stay apart, and none can be "true".
    columns = ["true", *(f"{number}: {name}" for number, name in enumerate(classes))]
    rows = [
        dict(zip(columns, [name, *map(int, counts)], strict=True))
        for name, counts in zip(classes, confusion, strict=True)
    ]
    write_csv(folder / f"{split}_confusion.csv", columns, rows, durable=durable)
    scores = [vars(one) for one in class_scores(confusion, classes)]
    write_csv(folder / f"{split}_classes.csv", CLASS_COLUMNS[task], scores, durable=durable)
