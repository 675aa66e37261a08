"""How sure a score is: bootstrap intervals over the images and the repeats, and paired differences between models.

A percentile bootstrap (Efron and Tibshirani, 1993, chapter 13) on two levels: each resample draws images, the same
ones for every configuration, which is what makes differences paired, and repeats within each configuration. With few
repeats the second level understates the spread between seeds, by (R - 1) / R of its variance.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tune_cnn.results.scores import Counts

RESAMPLES = 2000
_LEVEL = 0.95

Score = Callable[[Counts], float]
"""From (C, C) counts, rows true, columns predicted, to a score; higher is better."""


class Outcomes(Protocol):
    """What a model answered to each of N images, in an order that is the same for all models."""

    @property
    def images(self) -> str:
        """A digest of the images' paths in their order; empty where it is not known."""

    def __len__(self) -> int:
        """N."""

    def counts(self, chosen: NDArray[np.int64]) -> Counts:
        """Sum up the (C, C) confusion counts of these images; one named twice counts twice."""


@dataclass(frozen=True)
class ImageAnswers:
    """One class per image: `true` and `predicted` are (N,) class ids below `classes`."""

    true: NDArray[np.int64]
    predicted: NDArray[np.int64]
    classes: int
    images: str = ""

    def __len__(self) -> int:
        return len(self.true)

    def counts(self, chosen: NDArray[np.int64]) -> Counts:
        """Sum up the chosen images' outcomes."""
        cells = self.true[chosen] * self.classes + self.predicted[chosen]
        counts: Counts = np.bincount(cells, minlength=self.classes**2).reshape(self.classes, self.classes)
        return counts


@dataclass(frozen=True)
class ImageCounts:
    """Counts of each image's pixels, (N, C, C)."""

    each: Counts
    images: str = ""

    def __len__(self) -> int:
        return len(self.each)

    def counts(self, chosen: NDArray[np.int64]) -> Counts:
        """Sum up the chosen images' counts."""
        times = np.bincount(chosen, minlength=len(self.each)).astype(np.float64)
        counts: Counts = (times @ self._flat).astype(np.int64).reshape(self.each.shape[1:])
        return counts

    @cached_property
    def _flat(self) -> NDArray[np.float64]:
        # Whole numbers below 2**53 are exact in float64, for which a matrix product is ten times as fast.
        return self.each.reshape(len(self.each), -1).astype(np.float64)


@dataclass(frozen=True)
class Interval:
    """A range that holds the value in 95 % of the resamples."""

    low: float
    high: float

    def includes_zero(self) -> bool:
        """Whether no difference is among what the data are compatible with."""
        return self.low <= 0 <= self.high


def resampled(
    repeats: Mapping[int, Sequence[Outcomes]], score: Score, *, seed: int, resamples: int = RESAMPLES
) -> dict[int, NDArray[np.float64]]:
    """Give each configuration's mean score in every resample.

    Args:
        repeats: for each configuration, the outcomes of its repeats on the same images in the same order.
        score: what is computed from counts; NaN in a resample that lacks what it needs.
        seed: of the draws.
        resamples: how many.

    Returns:
        For each configuration (resamples,) scores; those at one place were computed on the same images.

    Raises:
        ValueError: the outcomes are not of the same images, or of none.
    """
    sizes = {len(outcomes) for each in repeats.values() for outcomes in each}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(f"outcomes of {sorted(sizes)} images; all repeats must answer the same images, one at least")
    if len({outcomes.images for each in repeats.values() for outcomes in each}) > 1:
        raise ValueError("outcomes of other images, though equally many; all repeats must answer the same images")
    (images,) = sizes
    rng = np.random.default_rng(seed)
    scores = {number: np.empty(resamples) for number in repeats}
    for place in range(resamples):
        chosen = rng.integers(0, images, images)
        for number, each in repeats.items():
            drawn, times = np.unique(rng.integers(0, len(each), len(each)), return_counts=True)
            values = [score(each[repeat].counts(chosen)) for repeat in drawn]
            scores[number][place] = np.average(values, weights=times)
    return scores


def interval(scores: NDArray[np.float64]) -> Interval:
    """Give the 95 % percentile interval of resampled scores or differences; NaNs are left out, all NaN gives NaN."""
    known = scores[~np.isnan(scores)]
    if not len(known):
        return Interval(float("nan"), float("nan"))
    tail = (1 - _LEVEL) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return Interval(float(low), float(high))
