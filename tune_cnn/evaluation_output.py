"""What `tune-cnn evaluate` and `tune-cnn predict` print and write."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tune_cnn.errors import DataError
from tune_cnn.evaluation import Evaluation, Prediction
from tune_cnn.results.display import line
from tune_cnn.results.scores import class_scores
from tune_cnn.results.tables import json_text, write_asked


def evaluations_json(evaluations: Sequence[Evaluation]) -> str:
    """Give the scores and the confusion matrix of each split as JSON."""
    return json_text(
        {
            one.split: {
                "images": one.images,
                **one.scores,
                "classes": list(one.classes),
                "confusion": one.confusion.tolist(),
            }
            for one in evaluations
        }
    )


def print_evaluations(evaluations: Sequence[Evaluation], console: Console) -> None:
    """Print the scores of each split with all their digits, and of each class rounded."""
    for one in evaluations:
        console.print(line(f"{one.split}: {one.images} images"))
        for name, value in one.scores.items():
            console.print(line(f"  {name:<18} {value!r}"))
        table = Table(box=None, pad_edge=False)
        for column in ("class", "images", "precision", "sensitivity", "specificity"):
            table.add_column(column, justify="left" if column == "class" else "right")
        for scores in class_scores(one.confusion, one.classes):
            shares = (scores.precision, scores.sensitivity, scores.specificity)
            table.add_row(line(scores.name), str(scores.support), *(f"{share:.3f}" for share in shares))
        console.print(table)


def print_predictions(predictions: Sequence[Prediction], console: Console, *, top: int, csv_file: Path | None) -> None:
    """Print the likeliest classes of each image, and write all probabilities to a CSV if asked to.

    Raises:
        DataError: files that could not be read, all of them, once the others are printed and written.
    """
    for one in predictions:
        if not one.error:
            shown = ", ".join(f"{name} {share:.3f}" for name, share in one.ranking[:top])
            console.print(line(f"{one.path}: {shown}"), soft_wrap=True)
    if csv_file is not None:
        _write(csv_file, predictions)
        console.print(line(f"wrote {csv_file}"), soft_wrap=True)
    unreadable = [f"{one.path}: {one.error}" for one in predictions if one.error]
    if unreadable:
        raise DataError(unreadable)


def _write(file: Path, predictions: Sequence[Prediction]) -> None:
    classes = sorted({name for one in predictions for name, _ in one.ranking})
    columns = ["path", "class", "probability", *(f"p: {name}" for name in classes), "error"]
    rows = [
        {
            "path": str(one.path),
            "class": one.ranking[0][0] if one.ranking else None,
            "probability": one.ranking[0][1] if one.ranking else None,
            **{f"p: {name}": share for name, share in one.ranking},
            "error": one.error,
        }
        for one in predictions
    ]
    write_asked(file, columns, rows)
