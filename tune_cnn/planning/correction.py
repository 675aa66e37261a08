"""By how much epochs take longer or shorter than was said, learned from those that have run.

A ridge regression of the logarithm of (took / said): one figure for all, a line and a bend over the freeze depth, and
a figure each for networks and augmentations. What few trials say is believed for all, and for what sets them apart
only as far as several bear it out.
"""

import statistics
from collections import defaultdict
from collections.abc import Mapping
from math import exp

import numpy as np

from tune_cnn.planning.work import Work

# How much it takes to believe in each sort of difference, in trials at the far ends of it.
_PENALTIES = {"all": 1e-6, "depth": 0.05, "bend": 0.2, "model": 0.2, "policy": 0.5}
_MOST_TRIALS = 200


class Correction:
    """Takes in what epochs took, and says the factor for any configuration."""

    def __init__(self) -> None:
        self._ratios: dict[tuple[int, str], list[float]] = defaultdict(list)
        self._features: dict[tuple[int, str], Mapping[str, float]] = {}
        self._weights: Mapping[str, float] | None = {}

    @property
    def trials(self) -> int:
        """How many trials have told of an epoch."""
        return len({trial for trial, _ in self._ratios})

    def take_in(self, trial: int, phase: str, work: Work, *, said_seconds: float, took_seconds: float) -> None:
        """Take in one epoch. Of a trial's phase the median counts: one epoch may have built what all share."""
        if said_seconds > 0 and took_seconds > 0:
            self._ratios[trial, phase].append(float(np.log(took_seconds / said_seconds)))
            self._features[trial, phase] = _features(work)
            self._weights = None
            if len(self._ratios) > _MOST_TRIALS:  # the latest tell most of how it goes now
                oldest = next(iter(self._ratios))
                del self._ratios[oldest], self._features[oldest]

    def factor(self, work: Work) -> float:
        """Give took / said for a configuration: 1 as long as nothing is known."""
        if self._weights is None:
            self._weights = self._fitted()
        return exp(sum(self._weights.get(name, 0.0) * value for name, value in _features(work).items()))

    def _fitted(self) -> dict[str, float]:
        keys = list(self._ratios)
        names = sorted({name for key in keys for name in self._features[key]})
        table = np.array([[self._features[key].get(name, 0.0) for name in names] for key in keys])
        target = np.array([statistics.median(self._ratios[key]) for key in keys])
        penalty = np.diag([_PENALTIES[name.partition(" ")[0]] for name in names])
        weights = np.linalg.solve(table.T @ table + penalty, table.T @ target)
        return dict(zip(names, weights.tolist(), strict=True))


def _features(work: Work) -> dict[str, float]:
    depth = 2 * work.frozen_units / max(1, work.units) - 1
    model = f"model {work.model.label} {work.model.px}"
    return {"all": 1.0, "depth": depth, "bend": depth * depth, model: 1.0, f"policy {work.policy}": 1.0}
