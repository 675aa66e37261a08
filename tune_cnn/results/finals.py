"""The table of the finals: what the best configurations reach with other seeds, and which cannot be told apart.

Validation decides the order; the test split is looked at once, for the models that stand there, and decides nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tune_cnn.results.intervals import Interval, Outcomes, Score, interval, resampled
from tune_cnn.results.records import FACTS, TrialRecord


@dataclass(frozen=True)
class Repeat:
    """One training of a finalist with a seed of its own; outcomes are those of its best epoch's weights."""

    seed: int
    val: Outcomes
    test: Outcomes | None
    """None where the data have no test split."""
    seconds: float | None = None
    """In epochs; None, as for the two below, where it is not known."""
    peak_memory_mb: float | None = None
    ms_per_image: float | None = None


@dataclass(frozen=True)
class Finalist:
    """A configuration that was among the best of the search, and what became of its repeats."""

    trial: TrialRecord
    """The trial of the search that it comes from."""
    repeats: tuple[Repeat, ...]
    """At least one."""
    failed: int = 0
    """How many repeats more there were that gave no score."""


@dataclass(frozen=True)
class Standing:
    """One split's scores of a finalist."""

    values: tuple[float, ...]
    """One score per repeat."""
    within: Interval
    """95 % of the mean over the repeats."""
    to_best: Interval
    """95 % of the paired difference to the configuration with the best validation mean; zero for that one itself."""

    @property
    def mean(self) -> float:
        """The mean over the repeats."""
        return float(np.mean(self.values))

    @property
    def std(self) -> float:
        """The sample standard deviation over the repeats; NaN for a single one, which tells nothing of chance."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else float("nan")


@dataclass(frozen=True)
class Final:
    """A finalist in its place."""

    finalist: Finalist
    val: Standing
    test: Standing | None
    tied: bool
    """Whether it cannot be told from the best: the paired difference includes zero."""


def judge(finalists: Sequence[Finalist], score: Score, *, seed: int) -> list[Final]:
    """Put finalists in order: those that cannot be told from the best, cheapest first, then the others by their mean.

    The cheapest is the one with the fewest parameters; among equals the higher validation mean goes first. Those of
    which a repeat failed stand behind all others: what came through may be the lucky part.

    Args:
        finalists: each with its repeats on the same validation (and test) images in the same order.
        score: from counts to what is ranked; higher is better.
        seed: of the bootstrap's draws.

    Returns:
        One final per finalist; empty if there are none.
    """
    if not finalists:
        return []
    vals = {each.trial.trial: [one.val for one in each.repeats] for each in finalists}
    best = _best(finalists, score)
    val = _standings(vals, score, seed, best)
    tests = {each.trial.trial: [one.test for one in each.repeats if one.test is not None] for each in finalists}
    test = _standings(tests, score, seed, best) if all(tests.values()) else {}
    tied = {number for number, standing in val.items() if standing.to_best.includes_zero()}
    finals = [
        Final(each, val[each.trial.trial], test.get(each.trial.trial), tied=each.trial.trial in tied and len(tied) > 1)
        for each in finalists
    ]
    return sorted(finals, key=lambda final: _place(final, among_best=final.finalist.trial.trial in tied))


def finals_rows(finals: Sequence[Final], metric: str) -> list[dict[str, Any]]:
    """Give the rows of finals.csv, best first; every single repeat's score stays in it.

    Args:
        finals: as `judge` gave them.
        metric: the score's name without its split, such as `accuracy`.
    """
    return [_row(rank, final, metric) for rank, final in enumerate(finals, start=1)]


def _best(finalists: Sequence[Finalist], score: Score) -> int:
    """Give the trial with the highest validation mean, of those with all their repeats if there are any."""
    whole = [each for each in finalists if not each.failed] or finalists
    means = {each.trial.trial: np.mean([_whole(one.val, score) for one in each.repeats]) for each in whole}
    return max(means, key=lambda number: (means[number], -number))


def _standings(repeats: Mapping[int, Sequence[Outcomes]], score: Score, seed: int, best: int) -> dict[int, Standing]:
    values = {number: tuple(_whole(one, score) for one in each) for number, each in repeats.items()}
    drawn = resampled(repeats, score, seed=seed)
    return {
        number: Standing(
            values[number],
            interval(drawn[number]),
            Interval(0.0, 0.0) if number == best else interval(drawn[number] - drawn[best]),
        )
        for number in repeats
    }


def _whole(outcomes: Outcomes, score: Score) -> float:
    return score(outcomes.counts(np.arange(len(outcomes))))


def _place(final: Final, *, among_best: bool) -> tuple[bool, bool, float, float, int]:
    facts = final.finalist.trial.facts
    parameters = float(facts.parameters) if facts and among_best else 0.0
    return final.finalist.failed > 0, not among_best, parameters, -final.val.mean, final.finalist.trial.trial


def _row(rank: int, final: Final, metric: str) -> dict[str, Any]:
    trial = final.finalist.trial
    row: dict[str, Any] = {
        "rank": rank,
        "trial": trial.trial,
        "tie": final.tied,
        "repeats": len(final.finalist.repeats),
        "failed": final.finalist.failed,
        **_columns(f"val_{metric}", final.val),
    }
    if final.test:
        row |= _columns(f"test_{metric}", final.test)
    if trial.facts:
        row |= {name: getattr(trial.facts, name) for name in FACTS if hasattr(trial.facts, name)}
    row |= _costs(final.finalist.repeats)
    row["seeds"] = " ".join(str(one.seed) for one in final.finalist.repeats)
    return row | dict(trial.values)


def _costs(repeats: Sequence[Repeat]) -> dict[str, float | None]:
    """Give the mean seconds of a repeat, the highest memory and the fastest pass; None where none is known."""
    seconds = [one.seconds for one in repeats if one.seconds is not None]
    return {
        "seconds": float(np.mean(seconds)) if seconds else None,
        "peak_memory_mb": max((one.peak_memory_mb for one in repeats if one.peak_memory_mb is not None), default=None),
        "ms_per_image": min((one.ms_per_image for one in repeats if one.ms_per_image is not None), default=None),
    }


def _columns(name: str, standing: Standing) -> dict[str, float]:
    columns = {
        f"{name}_mean": standing.mean,
        f"{name}_std": standing.std,
        f"{name}_low": standing.within.low,
        f"{name}_high": standing.within.high,
        f"{name}_to_best_low": standing.to_best.low,
        f"{name}_to_best_high": standing.to_best.high,
    }
    return columns | {f"{name}_{place}": value for place, value in enumerate(standing.values, start=1)}
