"""Many simulated searches, and what they say together."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from tune_cnn.planning.cost import Price
from tune_cnn.planning.simulate import Simulated, simulate
from tune_cnn.sections.search import SearchConfig

_SIMULATED = 100
_LEAST_SIMULATED = 20
_MOST_SIMULATED_TRIALS = 20_000
"""In all simulations of one question together: some seconds."""
_MOST_TRIALS = 500  # to simulate; more are told by the rate at which these end


@dataclass(frozen=True)
class Spread:
    """A figure of many simulated searches."""

    p10: float
    p50: float
    p90: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> "Spread":
        """Give the tenth, fiftieth and ninetieth percentile of one figure at least."""
        ordered = sorted(figures)
        return cls(*(ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.1, 0.5, 0.9)))

    def scaled(self, factor: float) -> "Spread":
        """Give it in another unit."""
        return Spread(self.p10 * factor, self.p50 * factor, self.p90 * factor)


def simulations(search: SearchConfig, prices: Sequence[Price], *, slots: int, start_seconds: float) -> list[Simulated]:
    """Simulate many searches, the same ones every time: fewer of those with many trials.

    Args:
        search: its budget.
        prices: of draws, the defaults first.
        slots: trials at a time.
        start_seconds: before the first trial begins.
    """
    count = max(_LEAST_SIMULATED, min(_SIMULATED, _MOST_SIMULATED_TRIALS // search.trials))
    return [
        simulate(
            search,
            prices,
            slots=slots,
            rng=random.Random(seed),  # noqa: S311 - the same plan for the same measurements
            first=prices[0],
            start_seconds=start_seconds,
            seconds_left=math.inf if search.hours is None else search.hours * 3600,
        )
        for seed in range(count)
    ]


def room_for(
    search: SearchConfig, prices: Sequence[Price], played: Sequence[Simulated], *, slots: int, start_seconds: float
) -> Spread | None:
    """Say how many trials the hours have room for, however many were asked for; None without hours.

    Args:
        search: its budget.
        prices: of draws, the defaults first.
        played: simulations of it as it is, which say how long a trial is about.
        slots: trials at a time.
        start_seconds: before the first trial begins.
    """
    if search.hours is None:
        return None
    about = Spread.of([(one.seconds - one.finals_seconds) / max(1, one.trials) for one in played]).p50
    enough = math.ceil(2 * search.hours * 3600 / max(about, 1e-3)) + slots
    if enough <= _MOST_TRIALS:
        bounded = search.model_copy(update={"trials": enough})
        return Spread.of([one.trials for one in simulations(bounded, prices, slots=slots, start_seconds=start_seconds)])
    many = search.model_copy(update={"trials": _MOST_TRIALS, "hours": None, "finals": None})
    found = simulations(many, prices, slots=slots, start_seconds=start_seconds)
    left = search.hours * 3600 - Spread.of([one.finals_seconds for one in played]).p50
    return Spread.of([left * one.trials / one.seconds for one in found])
