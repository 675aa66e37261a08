"""Compare samplers and ASHA on recorded curves, at equal device-seconds, on a simulated clock.

`python -m benchmarks.samplers` prints two tables over methods and budgets, each with median and quartiles over seeds,
the mean regret at the two largest budgets with its standard error, and the cost of reaching the median that random
search ends with. In the first stands the best final score among the trials that came to their end: what a user sees,
luck included, of which who finishes more trials has more. In the second, what is to be expected of that same trial
without its luck. Budgets count in full trainings: the mean cost of a random configuration from beginning to end.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.curve_table import read_curves
from benchmarks.replay import Ended, run_screening, run_search
from benchmarks.surrogate import Surrogate
from tune_cnn.search.open_space import open_space
from tune_cnn.sections.search import AshaConfig
from tune_cnn.space.schema import Space

CURVES = Path(__file__).parent / "curves" / "aquarium_lite0.csv"
BUDGETS = (10.0, 20.0, 40.0, 80.0)
_STEP = 2.0  # of the grid on which costs are told, in full trainings
_SEEN, _EXPECTED = 0, 1

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Method:
    """A way to search."""

    name: str
    sampler: str
    asha: AshaConfig | None = None
    screens: bool = False
    """One epoch for all, then the best ones to their end."""


def _asha(grace_epochs: int, reduction: int) -> AshaConfig:
    return AshaConfig(grace_epochs=grace_epochs, reduction=reduction)


METHODS = (
    Method("random", "random"),
    *(
        Method(f"{sampler} + ASHA {grace}/{reduction}", sampler, _asha(grace, reduction))
        for grace, reduction in ((1, 3), (3, 3), (1, 12))
        for sampler in ("random", "tpe", "bohb")
    ),
    Method("one epoch for all, then the best", "random", screens=True),
)


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=CURVES, help="recorded curves; the space lies beside them")
    parser.add_argument("--seeds", type=int, default=30, help="how often each method searches")
    parser.add_argument("--workers", type=int, default=4, help="trials at a time")
    asked = parser.parse_args()
    space = open_space(asked.table.with_suffix(".yaml")).space
    surrogate = Surrogate(read_curves(asked.table, space.parameters), space.parameters)
    print(_about(surrogate))
    print(f"{asked.seeds} seeds, {asked.workers} workers; budgets in full trainings; ASHA grace/reduction", flush=True)
    results = {
        method.name: compare(method, space, surrogate, seeds=asked.seeds, workers=asked.workers) for method in METHODS
    }
    for judge, title, most in (
        (_SEEN, "best final score", surrogate.best_score),
        (_EXPECTED, "what is to be expected of it", surrogate.best_expected),
    ):
        print(_table(title, {name: scores[:, :, judge] for name, scores in results.items()}, most))


def grid() -> NDArray[np.float64]:
    """Give the budgets at which scores are told, in full trainings."""
    return np.arange(_STEP, max(BUDGETS) + _STEP / 2, _STEP)


def compare(method: Method, space: Space, surrogate: Surrogate, *, seeds: int, workers: int) -> Scores:
    """Let a method search with every seed.

    Returns:
        (seeds, budgets of the grid, 2): the best score among the trials that had come to their end by then, and what is
        to be expected of the same trial; NaN before the first.
    """
    unit = surrogate.full_training_seconds
    return np.array([_searched(method, space, surrogate, seed, workers, grid() * unit) for seed in range(seeds)])


def _searched(
    method: Method, space: Space, surrogate: Surrogate, seed: int, workers: int, budgets: Scores
) -> list[tuple[float, float]]:
    search = space.search.model_copy(update={"sampler": method.sampler, "asha": method.asha, "seed": seed})
    if not method.screens:
        ended = run_search(space, search, surrogate.ask, workers=workers, device_seconds=float(budgets[-1]))
        return [best(ended, budget) for budget in budgets]
    found = []  # how many are screened depends on the budget, so every budget is a search of its own
    for budget in budgets.tolist():
        ended = run_screening(space, search, surrogate.ask, workers=workers, device_seconds=budget)
        found.append(best(ended, budget))
    return found


def best(ended: Sequence[Ended], device_seconds: float) -> tuple[float, float]:
    """Give the best score among those that had ended by then, and what is to be expected of it; NaN if none had."""
    in_time = [one for one in ended if one.device_seconds <= device_seconds]
    if not in_time:
        return float("nan"), float("nan")
    first = max(in_time, key=lambda one: one.score)
    return first.score, first.expected


def cost_to_reach(scores: Scores, target: float) -> float:
    """Give the smallest budget of the grid at which the median over seeds is not below a target; NaN if none.

    A seed without any result counts as the worst.
    """
    medians = np.median(np.nan_to_num(scores, nan=-np.inf), axis=0)
    reached = np.flatnonzero(medians >= target)
    return float(grid()[reached[0]]) if len(reached) else float("nan")


def _about(surrogate: Surrogate) -> str:
    faith, epochs = surrogate.fidelity(), len(surrogate.answers[0].curve.scores)
    return (
        f"{len(surrogate.answers)} curves of {epochs} epochs, best {surrogate.best_score:.4f}, best expected "
        f"{surrogate.best_expected:.4f}; a full training takes {surrogate.full_training_seconds:.1f} s on average\n"
        f"the surrogate, asked for curves left out of it: rank correlation {faith.rank_correlation:.2f}, "
        f"mean error {faith.mean_error:.4f} (telling the median always: {faith.plain_error:.4f})"
    )


def _table(title: str, results: dict[str, Scores], most: float) -> str:
    target = float(np.median(results[METHODS[0].name][:, -1]))
    heads = [f"at {budget:g}" for budget in BUDGETS] + [f"mean regret at {budget:g}" for budget in BUDGETS[-2:]]
    rows = [_row(name, scores, most, target) for name, scores in results.items()]
    head = f"| {title} | {' | '.join(heads)} | cost of random's median |"
    return "\n".join(["", head, "|---|" + "---|" * (len(heads) + 1), *rows])


def _row(name: str, scores: Scores, most: float, target: float) -> str:
    at = [scores[:, np.flatnonzero(np.isclose(grid(), budget))[0]] for budget in BUDGETS]
    cells = [*(_quartiles(column) for column in at), *(_mean(most - column) for column in at[-2:])]
    return f"| {name} | {' | '.join(cells)} | {cost_to_reach(scores, target):g} |"


def _mean(column: Scores) -> str:
    return f"{np.mean(column):.4f} ± {np.std(column, ddof=1) / np.sqrt(len(column)):.4f}"


def _quartiles(column: Scores) -> str:
    low, middle, high = np.quantile(np.nan_to_num(column, nan=-np.inf), (0.25, 0.5, 0.75), method="nearest")
    return f"{middle:.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()
