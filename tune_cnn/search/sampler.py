"""Who proposes the next configuration: chance, Optuna's TPE, or TPE as BOHB uses it.

`bohb` learns from one rung of ASHA at a time, the highest that enough trials have reached (Falkner, Klein and Hutter,
2018: "BOHB: Robust and Efficient Hyperparameter Optimization at Scale"). All who reached it are compared by their
scores there, whether they went on or not; and every third trial is drawn at random, in case the rung misleads.
"""

import warnings
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from tune_cnn.results.records import Scalar
from tune_cnn.search.history import History, Observation
from tune_cnn.sections.search import SearchConfig
from tune_cnn.space.schema import Choice, Drawn, FloatRange, IntRange, Parameter, Space

optuna.logging.set_verbosity(optuna.logging.ERROR)

_RANDOM_SHARE = 1 / 3
_STATES = {"complete": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "running": TrialState.RUNNING}


def propose(space: Space, search: SearchConfig, history: History) -> Drawn:
    """Draw the values of the next trial; the first one has the defaults of the space.

    The sampler is made anew for each trial, from the seed and the number of trials: a search that was interrupted goes
    on with the draws it would have made, and never repeats those it made.
    """
    if not len(history):
        return space.tree_of(space.defaults())
    seed = search.seed * 1_000_003 + len(history)  # far apart for neighbouring seeds
    known = _informative(search, history, seed)
    with _silenced():
        study = optuna.create_study(
            storage=_Remembered(_frozen(known, distributions(space.parameters))),
            direction="maximize",
            sampler=_tpe(seed) if known else RandomSampler(seed=seed),
        )
        trial = study.ask()
        return space.draw(lambda parameter: _suggest(trial, parameter))


def distributions(parameters: Sequence[Parameter]) -> dict[str, BaseDistribution]:
    """Give the domains as Optuna has them, by key."""
    return {parameter.key: _distribution(parameter) for parameter in parameters}


def _informative(search: SearchConfig, history: History, seed: int) -> list[Observation]:
    """Give the trials to learn from; none if this one is to be drawn at random."""
    match search.sampler:
        case "tpe":
            return history.ended()
        case "bohb" if np.random.default_rng(seed).random() >= _RANDOM_SHARE:
            return history.at_highest_rung()
        case _:
            return []


def _tpe(seed: int) -> BaseSampler:
    """Make Optuna's TPE. Trials that are running count as bad (`constant_liar`): no two draw the same at a time."""
    return TPESampler(seed=seed, n_startup_trials=0, multivariate=True, group=True, constant_liar=True)


class _Remembered(InMemoryStorage):
    """A storage in memory with trials that it was handed, which it neither checks nor copies: that takes too long."""

    def __init__(self, trials: Collection[FrozenTrial]) -> None:
        super().__init__()
        self._remembered = trials

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Give the remembered trials, then the new one."""
        remembered = [trial for trial in self._remembered if states is None or trial.state in states]
        return [*remembered, *super().get_all_trials(study_id, deepcopy, states)]


def _frozen(known: Sequence[Observation], domains: Mapping[str, BaseDistribution]) -> list[FrozenTrial]:
    return [
        FrozenTrial(
            number=place,  # the new trial is number 0 of its storage
            trial_id=-place,
            state=_STATES[one.state],
            value=one.score if one.state == "complete" else None,
            datetime_start=None,
            datetime_complete=None,
            params=dict(one.values),
            distributions={key: domains[key] for key in one.values},
            user_attrs={},
            system_attrs={},
            intermediate_values={int(one.epoch): one.score} if one.state == "stopped" else {},
        )
        for place, one in enumerate(known, start=1)
    ]


def _suggest(trial: optuna.Trial, parameter: Parameter) -> Scalar:
    """Let the sampler choose a value within the parameter's domain."""
    match parameter.domain:
        case Choice(labels):
            value: Scalar = trial.suggest_categorical(parameter.key, labels)
            return value
        case IntRange(low, high, log, step):
            return trial.suggest_int(parameter.key, low, high, log=log, step=step)
        case FloatRange(low, high, log, step):
            return trial.suggest_float(parameter.key, low, high, log=log, step=step)


def _distribution(parameter: Parameter) -> BaseDistribution:
    match parameter.domain:
        case Choice(labels):
            return CategoricalDistribution(labels)
        case IntRange(low, high, log, step):
            return IntDistribution(low, high, log=log, step=step)
        case FloatRange(low, high, log, step):
            return FloatDistribution(low, high, log=log, step=step)


@contextmanager
def _silenced() -> Iterator[Any]:
    """Silence Optuna's notes that `group` and `multivariate` may change: the version is pinned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
