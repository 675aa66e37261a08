"""What a configuration would have scored, told from a table of recorded curves without training anything.

Every configuration is answered with one recorded curve as it is, noise and all: that of the nearest configuration in
the table. Nearest is which shares the most leaves of a random forest fitted to the curves, so that a parameter counts
as much as it matters. The same configuration always gets the same answer, whoever asks; nobody is kept to the table's
points, and nobody can find what is not in the table.

A recorded score is luck in part: of two configurations as good, one has the better epoch. So each answer also says what
the forest expects of the configuration, by trees that have not seen its curve.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from benchmarks.curve_table import Curve
from tune_cnn.results.records import Scalar
from tune_cnn.space.domains import Choice, Parameter

_TREES, _FEWEST_IN_A_LEAF = 100, 3
_ABSENT = -1.0

Row = NDArray[np.float64]


@dataclass(frozen=True)
class Fidelity:
    """How well a surrogate tells the end of curves that were left out of it."""

    rank_correlation: float
    """Spearman's, between told and recorded."""
    mean_error: float
    """Mean absolute difference of the scores."""
    plain_error: float
    """The same of always telling the median."""


@dataclass(frozen=True)
class Answer:
    """What a configuration would have scored."""

    curve: Curve
    """The nearest recorded one."""
    expected: float
    """The score of its best epoch as those of its kind have it, without its own luck."""


class Surrogate:
    """Answers configurations with recorded curves."""

    def __init__(self, curves: Sequence[Curve], parameters: Sequence[Parameter]) -> None:
        """Fit the forest.

        Args:
            curves: all of one length, at least one.
            parameters: of the space that they were drawn from.
        """
        self._parameters = parameters
        self._forest = RandomForestRegressor(
            _TREES, min_samples_leaf=_FEWEST_IN_A_LEAF, random_state=0, n_jobs=1, oob_score=True
        )
        rows = np.array([self._row(curve.values) for curve in curves])
        self._forest.fit(rows, np.array([[*curve.scores, max(curve.scores)] for curve in curves]))
        expected = self._forest.oob_prediction_[:, -1].tolist()
        self.answers = [Answer(*each) for each in zip(_with_usual_seconds(curves), expected, strict=True)]
        self._leaves = self._forest.apply(rows)
        self._given: dict[bytes, Answer] = {}

    @property
    def best_score(self) -> float:
        """The best score of any curve: nobody can find a better one."""
        return max(max(answer.curve.scores) for answer in self.answers)

    @property
    def best_expected(self) -> float:
        """The best expected score of any configuration."""
        return max(answer.expected for answer in self.answers)

    @property
    def full_training_seconds(self) -> float:
        """What a configuration costs from beginning to end, on average."""
        return float(np.mean([sum(answer.curve.seconds) for answer in self.answers]))

    def ask(self, values: Mapping[str, Scalar]) -> Answer:
        """Give what is told of the nearest recorded configuration; of several as near always the same one."""
        row = self._row(values)
        key = row.tobytes()
        if key not in self._given:
            shared = np.sum(self._leaves == self._forest.apply(row[None])[0], axis=1)
            nearest = np.flatnonzero(shared == shared.max()).tolist()
            self._given[key] = self.answers[nearest[zlib.crc32(key) % len(nearest)]]
        return self._given[key]

    def fidelity(self, folds: int = 10) -> Fidelity:
        """Leave out a part of the curves at a time, and ask for them."""
        curves = [answer.curve for answer in self.answers]
        told, recorded = np.zeros(len(curves)), np.array([max(curve.scores) for curve in curves])
        for fold in range(folds):
            other = Surrogate([one for place, one in enumerate(curves) if place % folds != fold], self._parameters)
            for place in range(fold, len(curves), folds):
                told[place] = max(other.ask(curves[place].values).curve.scores)
        ranks = np.array([np.argsort(np.argsort(one)) for one in (told, recorded)], float)
        return Fidelity(
            float(np.corrcoef(ranks)[0, 1]),
            float(np.mean(np.abs(told - recorded))),
            float(np.mean(np.abs(np.median(recorded) - recorded))),
        )

    def _row(self, values: Mapping[str, Scalar]) -> Row:
        return np.concatenate([_columns(parameter, values.get(parameter.key)) for parameter in self._parameters])


def _columns(parameter: Parameter, value: Scalar) -> Row:
    """Give a number, logarithmic where it is drawn so, or one column per label."""
    domain = parameter.domain
    if isinstance(domain, Choice):
        return np.array([float(label == value) for label in domain.labels])
    if value is None:
        return np.array([_ABSENT])
    low, high, at = (np.log(float(one)) if domain.log else float(one) for one in (domain.low, domain.high, value))
    return np.array([(at - low) / (high - low)])


def _with_usual_seconds(curves: Sequence[Curve]) -> list[Curve]:
    """Put in the place of each curve's seconds the median epoch of all curves of its depth.

    Other work on the machine, and the making of what the cache holds, is then nobody's bad luck.
    """
    by_depth: dict[int, list[float]] = {}
    for curve in curves:
        by_depth.setdefault(curve.frozen_units, []).extend(curve.seconds)
    usual = {depth: float(np.median(seconds)) for depth, seconds in by_depth.items()}
    return [replace(curve, seconds=(usual[curve.frozen_units],) * len(curve.seconds)) for curve in curves]
