"""Architectures, or any other value, at a glance: of the trials with the same value the best, with what it costs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tune_cnn.config import TrialConfig
from tune_cnn.config_shape import dotted, names_below, nearest
from tune_cnn.errors import RunFolderError, SpaceFileError
from tune_cnn.results.leaderboard import Row
from tune_cnn.results.records import Scalar, TrialRecord
from tune_cnn.search.recorded import RecordedRun
from tune_cnn.space.expressions import is_expression
from tune_cnn.yaml_files import read_yaml

_COSTS = ("parameters", "trainable_parameters", "model_mb", "seconds", "peak_memory_mb")


def values_of(run: RecordedRun, name: str) -> dict[int, Scalar]:
    """Give what a run's trials hold at a dotted name, by their numbers; a trial without such a name is left out.

    Raises:
        RunFolderError: a trial's config.yaml has to be asked, and cannot be read.
    """
    found = {record.trial: _value(run, record, name) for record in run.trials}
    return {trial: values[0] for trial, values in found.items() if values}


def best_of_each(rows: Sequence[Row], name: str) -> list[Row]:
    """Keep the first row for each value of `name`, with the number of `trials` that had it.

    Args:
        rows: best first; those that lack `name` are left out.
        name: a column.
    """
    counts: dict[Any, int] = {}
    best: dict[Any, Row] = {}
    for row in rows:
        if name in row:
            key = (type(row[name]), row[name])  # 1, 1.0 and true are different values
            counts[key] = counts.get(key, 0) + 1
            best.setdefault(key, row)
    return [{**row, "trials": counts[key]} for key, row in best.items()]


def glance(row: Row, name: str, metric: str) -> Row:
    """Give the columns of a row that compare scores and costs."""
    test = f"test_{metric.removeprefix('-').removeprefix('val_')}"
    columns = ("rank", "run", "metric", name, "score", test, "trials", "trial", *_COSTS)
    return {column: row.get(column) for column in columns} | {name: "null" if row[name] is None else row[name]}


def names_like(name: str) -> str:
    """Say what to write in the place of a name that no trial has."""
    known = [dotted(place) for place in names_below(TrialConfig)]
    close = next((each for each in known if each.rpartition(".")[2] == name), None) or nearest(name, known)
    return f"did you mean {close}?" if close else "write a dotted name such as model.backbone"


def _value(run: RecordedRun, record: TrialRecord, name: str) -> tuple[Scalar] | None:
    """Look where it is cheapest: among the drawn values, in the space where it is fixed, in the trial's own config."""
    for drawn in (
        name,
        f"{name}.kind",
    ):  # a section that was chosen stands there by its kind, or by what tells it apart
        if drawn in record.values:
            return (record.values[drawn],)
    parts = name.split(".")
    if (fixed := _at(run.space, parts)) and not isinstance(fixed[0], dict):
        return _written(fixed[0])
    file = run.folder.trial(record.trial).config
    try:
        held = _at(read_yaml(file).tree, parts)
    except SpaceFileError as error:
        raise RunFolderError((*error.faults, f"{file}: is needed for --best-per {name}")) from error
    return held and _written(held[0])


def _at(tree: Any, parts: Sequence[str]) -> tuple[Any] | None:
    """Give what stands at a dotted name, in a tuple as it may be null; None where nothing does or it is searched."""
    for part in parts:
        if not isinstance(tree, dict) or is_expression(tree) or part not in tree:
            return None
        tree = tree[part]
    return (tree,)


def _written(value: Any) -> tuple[Scalar]:
    """Give a value for a table's cell: a section by its kind, or written out in one line."""
    if isinstance(value, Mapping) and "kind" in value:
        return (str(value["kind"]),)
    return (json.dumps(value, separators=(",", ":")) if isinstance(value, Mapping | list) else value,)
