"""Compare samplers and ASHA on recorded curves, at equal device-seconds, on a simulated clock.

`python -m benchmarks.samplers` prints, for each method and budget, median and quartiles over seeds of the best final
score among the trials that came to their end; at the two largest budgets the mean regret (what the best recorded curve
has more) with its standard error; and the cost of reaching the median that random search ends with. Budgets count in
full trainings: the median cost of one configuration from beginning to end.
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
from tune_cnn.sections.search import AshaConfig, SearchConfig
from tune_cnn.space.schema import Space

CURVES = Path(__file__).parent / "curves" / "aquarium_lite0.csv"
BUDGETS = (5.0, 10.0, 20.0, 40.0)
_STEP = 1.0  # of the grid on which costs are told, in full trainings

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
    print(_about(surrogate, asked))
    results: dict[str, Scores] = {}
    for method in METHODS:
        results[method.name] = compare(method, space, surrogate, seeds=asked.seeds, workers=asked.workers)
        target = float(np.median(results[METHODS[0].name][:, -1]))
        print(_row(method.name, results[method.name], surrogate.best_score, target), flush=True)


def grid() -> NDArray[np.float64]:
    """Give the budgets at which scores are told, in full trainings."""
    return np.arange(_STEP, max(BUDGETS) + _STEP / 2, _STEP)


def compare(method: Method, space: Space, surrogate: Surrogate, *, seeds: int, workers: int) -> Scores:
    """Let a method search with every seed.

    Returns:
        (seeds, budgets of the grid): the best score among trials that had come to their end by then; NaN before.
    """
    unit = surrogate.full_training_seconds
    return np.array([_curve(method, space, surrogate, seed, workers, grid() * unit) for seed in range(seeds)])


def _curve(method: Method, space: Space, surrogate: Surrogate, seed: int, workers: int, budgets: Scores) -> list[float]:
    search = space.search.model_copy(update={"sampler": method.sampler, "asha": method.asha, "seed": seed})
    if not method.screens:
        ended = run_search(space, search, surrogate.curve, workers=workers, device_seconds=float(budgets[-1]))
        return [best(ended, budget) for budget in budgets]
    # How many are screened depends on the budget, so every budget is a search of its own.
    return [_screened(space, search, surrogate, workers, float(budget)) for budget in budgets]


def _screened(space: Space, search: SearchConfig, surrogate: Surrogate, workers: int, budget: float) -> float:
    return best(run_screening(space, search, surrogate.curve, workers=workers, device_seconds=budget), budget)


def best(ended: Sequence[Ended], device_seconds: float) -> float:
    """Give the best score among those that had ended by then; NaN if none had."""
    return max((one.score for one in ended if one.device_seconds <= device_seconds), default=float("nan"))


def cost_to_reach(scores: Scores, target: float) -> float:
    """Give the smallest budget of the grid from which on the median over seeds is not below a target; NaN if none.

    A seed without any result counts as the worst.
    """
    medians = np.median(np.nan_to_num(scores, nan=-np.inf), axis=0)
    reached = np.flatnonzero(medians >= target)
    return float(grid()[reached[0]]) if len(reached) else float("nan")


def _about(surrogate: Surrogate, asked: argparse.Namespace) -> str:
    faith = surrogate.fidelity()
    epochs = len(surrogate.curves[0].scores)
    heads = [f"median [quartiles] at {budget:g}" for budget in BUDGETS]
    regrets = [f"mean regret at {budget:g}" for budget in BUDGETS[-2:]]
    return "\n".join(
        [
            f"{len(surrogate.curves)} curves of {epochs} epochs, best {surrogate.best_score:.4f}; "
            f"a full training takes {surrogate.full_training_seconds:.1f} s in the median",
            f"the surrogate, asked for curves left out of it: rank correlation {faith.rank_correlation:.2f}, "
            f"mean error {faith.mean_error:.4f} (telling the median always: {faith.plain_error:.4f})",
            f"{asked.seeds} seeds, {asked.workers} workers; budgets in full trainings; ASHA grace/reduction",
            "",
            f"| method | {' | '.join([*heads, *regrets])} | cost of random's median |",
            "|---|" + "---|" * (len(BUDGETS) + 3),
        ]
    )


def _row(name: str, scores: Scores, best_score: float, target: float) -> str:
    at = [scores[:, np.flatnonzero(np.isclose(grid(), budget))[0]] for budget in BUDGETS]
    cells = [*(_quartiles(column) for column in at), *(_mean(best_score - column) for column in at[-2:])]
    return f"| {name} | {' | '.join(cells)} | {cost_to_reach(scores, target):g} |"


def _mean(column: Scores) -> str:
    return f"{np.mean(column):.4f} ± {np.std(column, ddof=1) / np.sqrt(len(column)):.4f}"


def _quartiles(column: Scores) -> str:
    low, middle, high = np.quantile(np.nan_to_num(column, nan=-np.inf), (0.25, 0.5, 0.75), method="nearest")
    return f"{middle:.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()
