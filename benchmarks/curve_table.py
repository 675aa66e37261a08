"""A table of recorded learning curves: the values of each configuration, its score and its seconds in every epoch."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tune_cnn.errors import InputError
from tune_cnn.results.records import Scalar, TrialRecord
from tune_cnn.results.tables import cell, write_csv
from tune_cnn.space.domains import Choice, IntRange, Parameter

_UNITS, _SCORE, _SECONDS = "frozen_units", "score", "seconds"


@dataclass(frozen=True)
class Curve:
    """One configuration trained to its end."""

    values: Mapping[str, Scalar]
    """By the parameter's key; only the parameters on the branches taken."""
    frozen_units: int
    """What the depth came to: epochs of equal depth cost the same, but for what else the machine had to do."""
    scores: tuple[float, ...]
    """Of each epoch, higher is better."""
    seconds: tuple[float, ...]
    """Of each epoch."""


def curves_of(trials: Sequence[TrialRecord], parameters: Sequence[Parameter]) -> list[Curve]:
    """Give the curves of the trials that came to their end; those that were stopped or failed are left out."""
    return [
        Curve(
            _by_key(trial.values, parameters),
            trial.epochs[-1].frozen_units,
            tuple(epoch.score for epoch in trial.epochs),
            tuple(round(epoch.seconds, 4) for epoch in trial.epochs),
        )
        for trial in trials
        if trial.state == "complete"
    ]


def write_curves(path: Path, curves: Sequence[Curve], parameters: Sequence[Parameter]) -> None:
    """Write a row per curve; the cells of parameters on branches not taken are empty."""
    epochs = max((len(curve.scores) for curve in curves), default=0)
    columns = [
        *(parameter.key for parameter in parameters),
        _UNITS,
        *(f"{name}_{epoch:02d}" for name in (_SCORE, _SECONDS) for epoch in range(1, epochs + 1)),
    ]
    write_csv(path, columns, (_row(curve) for curve in curves))


def read_curves(path: Path, parameters: Sequence[Parameter]) -> list[Curve]:
    """Read what `write_curves` wrote.

    Raises:
        InputError: there is no such file, or its columns are not those of the parameters.
    """
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; record it with python -m benchmarks.record_curves") from error
    missing = [name for name in (*(one.key for one in parameters), _UNITS) if rows and name not in rows[0]]
    if not rows or missing:
        raise InputError(f"{path}: holds no curves of this space (columns missing: {missing}); record it again")
    return [_curve(row, parameters) for row in rows]


def _by_key(values: Mapping[str, Scalar], parameters: Sequence[Parameter]) -> dict[str, Scalar]:
    """Give a trial's values by key; the tables of a run have them by dotted name, sections by that of their kind."""
    found: dict[str, Scalar] = {}
    for parameter in parameters:  # outer before inner
        name = parameter.name if parameter.name in values else f"{parameter.name}.kind"
        if name in values and all(found.get(key) == label for key, label in parameter.conditions):
            found[parameter.key] = values[name]
    return found


def _row(curve: Curve) -> dict[str, Scalar]:
    return {
        **curve.values,
        _UNITS: curve.frozen_units,
        **{f"{_SCORE}_{epoch:02d}": round(score, 6) for epoch, score in enumerate(curve.scores, start=1)},
        **{f"{_SECONDS}_{epoch:02d}": seconds for epoch, seconds in enumerate(curve.seconds, start=1)},
    }


def _curve(row: Mapping[str, str], parameters: Sequence[Parameter]) -> Curve:
    values = {one.key: _value(row[one.key], one) for one in parameters if row[one.key]}
    scores, seconds = (
        tuple(float(text) for column, text in row.items() if column.startswith(f"{name}_") and text)
        for name in (_SCORE, _SECONDS)
    )
    return Curve(values, int(row[_UNITS]), scores, seconds)


def _value(text: str, parameter: Parameter) -> Scalar:
    domain = parameter.domain
    if isinstance(domain, Choice):
        return {cell(label): label for label in domain.labels}[text]
    return int(text) if isinstance(domain, IntRange) else float(text)
