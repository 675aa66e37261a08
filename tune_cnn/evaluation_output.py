"""What `tune-cnn evaluate` and `tune-cnn predict` print and write."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tune_cnn.errors import DataError
from tune_cnn.evaluation import Evaluation, Prediction
from tune_cnn.files import write_whole
from tune_cnn.results.display import line
from tune_cnn.results.pictures import class_mask
from tune_cnn.results.scores import CLASS_COLUMNS, class_scores
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
    """Print the scores of each split and of each class, rounded; JSON has all digits."""
    for one in evaluations:
        console.print(line(f"{one.split}: {one.images} images"))
        for name, value in one.scores.items():
            console.print(line(f"  {name:<18} {value:.4f}"))
        table = Table(box=None, pad_edge=False)
        shares = CLASS_COLUMNS[one.task][2:]
        for column in ("class", "pixels" if one.task == "segmentation" else "images", *shares):
            table.add_column(column, justify="left" if column == "class" else "right")
        for scores in class_scores(one.confusion, one.classes):
            cells = (f"{getattr(scores, share):.3f}" for share in shares)
            table.add_row(line(scores.name), str(scores.support), *cells)
        console.print(table)


def print_predictions(
    predictions: Iterable[Prediction],
    console: Console,
    *,
    top: int,
    csv_file: Path | None,
    masks_dir: Path | None = None,
) -> None:
    """Print the likeliest classes of each image, or their shares of its area, and write what is asked for.

    Args:
        predictions: taken one by one; masks are not kept.
        console: where to.
        top: how many classes of an image are shown.
        csv_file: takes the probabilities or shares of all classes.
        masks_dir: takes a class mask per image, `NAME.png`, in a palette; made if it is not there.

    Raises:
        DataError: files that could not be read, all of them, once the others are printed and written; or masks asked
            of a model that makes none.
    """
    told: list[Prediction] = []
    names: dict[str, int] = {}
    for one in predictions:
        mask_file = _write_mask(one, masks_dir, names) if masks_dir and not one.error else None
        told.append(replace(one, mask=None, mask_file=mask_file))
    _print_and_write(told, console, top=top, csv_file=csv_file)


def _write_mask(one: Prediction, folder: Path, names: dict[str, int]) -> Path:
    """Write a class mask; of images of one name from several folders, the second gets a number."""
    if one.mask is None:
        raise DataError("--out is for the masks of a segmentation model; this one gives a class per image: write --csv")
    times = names[one.path.stem] = names.get(one.path.stem, 0) + 1
    file = folder / f"{one.path.stem}{f'-{times}' if times > 1 else ''}.png"
    write_whole(file, class_mask(one.mask, len(one.classes)))
    return file


def _print_and_write(predictions: Sequence[Prediction], console: Console, *, top: int, csv_file: Path | None) -> None:
    if csv_file is not None:  # first: a pipe may end before the last line
        _write(csv_file, predictions)
    for one in predictions:
        if not one.error:
            shown = ", ".join(f"{name} {share:.3f}" for name, share in one.ranking[:top])
            into = f" -> {one.mask_file}" if one.mask_file else ""
            console.print(line(f"{one.path}: {shown}{into}"), soft_wrap=True)
    if csv_file is not None:
        console.print(line(f"wrote {csv_file}"), soft_wrap=True)
    unreadable = [f"{one.path}: {one.error}" for one in predictions if one.error]
    if unreadable:
        raise DataError(unreadable)


def _write(file: Path, predictions: Sequence[Prediction]) -> None:
    classes = sorted({name for one in predictions for name, _ in one.ranking})
    columns = ["path", "class", "probability", *(f"p: {name}" for name in classes), "error"]
    if any(one.mask_file for one in predictions):
        columns.insert(1, "mask")
    rows = [
        {
            "path": str(one.path),
            "mask": one.mask_file and str(one.mask_file),
            "class": one.ranking[0][0] if one.ranking else None,
            "probability": one.ranking[0][1] if one.ranking else None,
            **{f"p: {name}": share for name, share in one.ranking},
            "error": one.error,
        }
        for one in predictions
    ]
    write_asked(file, columns, rows)
