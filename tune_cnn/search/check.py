"""`tune-cnn check`: the resolved space, what is doubtful in it, and a look at the data."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from tune_cnn.data.audit import audit_data
from tune_cnn.data.cache import Cache
from tune_cnn.data.dataset import ImageData, open_data, summary
from tune_cnn.data.findings import FINDING_COLUMNS, Audit
from tune_cnn.data.folds import fold_data
from tune_cnn.results.display import line
from tune_cnn.results.tables import write_asked
from tune_cnn.space.lint import lint
from tune_cnn.space.schema import Space


def check_space(space: Space, console: Console, *, cache: Cache, csv_file: Path | None = None) -> None:
    """Print what a search of this space would do, and every warning. Trains nothing.

    Args:
        space: what would be searched.
        console: where to.
        cache: where decoded images are kept.
        csv_file: where what the audit of the data found goes, one row each; None: nowhere.

    Raises:
        DataError: the data cannot be used.
    """
    _print_parameters(space, console)
    config = space.config(
        space.tree_of(space.defaults()).tree, seed=space.search.seed, cpu_threads=1, weights_file=None
    )
    data = open_data(config.data, config.image, cache=cache)
    _print_data(data, console)
    check_folds(space, data, seed=config.data.splits.seed)
    audit = audit_data(data)
    for text in (*audit.facts, *doubts(space, data, audit)):
        console.print(line(text), soft_wrap=True)
    if csv_file is not None:
        write_asked(csv_file, FINDING_COLUMNS, (finding.row() for finding in audit.findings))
        console.print(line(f"{len(audit.findings)} findings written to {csv_file}"), soft_wrap=True)
    elif audit.findings:
        console.print(line(f"{len(audit.findings)} findings; --csv FILE lists them"), soft_wrap=True)
    console.print(line(f"{space.path}: fine"), soft_wrap=True)


def check_folds(space: Space, data: ImageData, *, seed: int) -> None:
    """Deal the images into every number of folds that a trial may be given, so that no trial fails for it.

    Raises:
        DataError: they cannot be dealt so; of several numbers the highest is told.
    """
    for folds in reversed(space.folds):
        fold_data(data, folds, seed=seed)


def doubts(space: Space, data: ImageData, audit: Audit) -> list[str]:
    """Give every warning about the space and its data, a line each, with its id."""
    train, val = (len(data.splits[name].labels) for name in ("train", "val"))
    if space.folds:  # each image is validated on, in its own fold
        val += train
    found = [(warning.id, warning.text) for warning in lint(space, train_images=train, val_images=val)]
    found += [("data", text) for text in data.warnings]
    return [f"warning [{name}]: {text}" for name, text in [*found, *audit.warnings]]


def _print_parameters(space: Space, console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("parameter", "domain", "default", "only where"):
        table.add_column(column, overflow="fold")
    for parameter in space.parameters:
        where = ", ".join(f"{key}={label}" for key, label in parameter.conditions)
        table.add_row(*map(line, (parameter.name, parameter.domain.text, str(parameter.default), where)))
    search = space.search
    console.print(
        line(f"{space.name}: {space.task}, {search.trials} trials for the best {', '.join(search.measures)}"),
        soft_wrap=True,
    )
    console.print(table)


def _print_data(data: ImageData, console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("pixels of class" if data.has_masks else "class", overflow="fold")
    for name in data.splits:
        table.add_column(name, justify="right")
    for count in summary(data):
        table.add_row(line(count.class_name), *(str(getattr(count, name)) for name in data.splits))
    table.add_row("images" if data.has_masks else "all", *(str(len(split.labels)) for split in data.splits.values()))
    console.print(table)
    for skipped in data.skipped:
        console.print(line(f"skipped {skipped.path} ({skipped.split}): {skipped.reason}"), soft_wrap=True)
