"""What a sampler may learn from: the trials with their scores, and which of them say most. No Optuna."""

import bisect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from tune_cnn.asha import Asha
from tune_cnn.results.records import Scalar, State
from tune_cnn.sections.search import SearchConfig

# Optuna's TPE takes a tenth of the trials for the good ones, but never more than 25. With the best 25 and the latest
# 225 the good ones are those it would find among all; of the rest the latest weigh most with it anyway.
_BEST, _LATEST = 25, 225
_END = math.inf


@dataclass(frozen=True, slots=True)
class Observation:
    """A trial as a sampler sees it."""

    number: int
    values: Mapping[str, Scalar]
    """By the parameter's key; only the parameters on the branches taken."""
    state: Literal["complete", "stopped", "running"]
    epoch: float = _END
    """Until when it was watched."""
    score: float = -math.inf
    """The best until then, higher is better; of no meaning while the trial is running."""


class History:
    """Every trial that was ever begun, its values and its scores. Told of what happens as it happens."""

    def __init__(self, search: SearchConfig) -> None:
        self._enough = search.random_trials
        self._asha = Asha(search.asha) if search.asha else None
        self._begun = 0
        self._values: dict[int, Mapping[str, Scalar]] = {}  # of those that are running, as the next
        self._scores: dict[int, dict[int, float]] = {}  # by epoch
        self._ended = _Known()
        self._rungs = {_END: _Known()}  # by epoch, and for the end of the training

    def __len__(self) -> int:
        """How many trials were ever begun."""
        return self._begun

    def begin(self, number: int, values: Mapping[str, Scalar]) -> None:
        """Take in a new trial with its values by key."""
        self._begun += 1
        self._values[number] = values
        self._scores[number] = {}

    def skip(self) -> None:
        """Take in that there is a trial of which nothing is to be learned."""
        self._begun += 1

    def report(self, number: int, epoch: int, score: float) -> None:
        """Take in an epoch of a running trial. Telling an epoch again replaces it."""
        scores = self._scores[number]
        scores[epoch] = score
        if self._asha and self._asha.is_rung(epoch) and epoch not in self._rungs:
            self._rungs[epoch] = _Known(self._rungs[_END])
        for rung, known in self._rungs.items():
            if epoch <= rung and rung in scores:
                best = max(past for until, past in scores.items() if until <= rung)
                known.add(Observation(number, self._values[number], "complete", score=best))

    def finish(self, number: int, state: State) -> None:
        """Close a trial. One that failed, or ended without an epoch, says nothing."""
        scores, values = self._scores.pop(number), self._values.pop(number)
        if state == "complete" and scores:
            whole = Observation(number, values, "complete", score=max(scores.values()))
            for known in (self._ended, *self._rungs.values()):
                if number not in known:
                    known.add(whole)
        elif state == "stopped" and scores:
            self._ended.add(Observation(number, values, "stopped", max(scores), max(scores.values())))
        else:
            for known in self._rungs.values():
                known.drop(number)

    def ended(self) -> list[Observation]:
        """Give the trials that ended, complete or stopped, and those that are running.

        Of very many only the best and the latest. Empty if fewer than `random_trials` have ended.
        """
        return self._with_running(self._ended) if len(self._ended) >= self._enough else []

    def at_highest_rung(self) -> list[Observation]:
        """Give the trials that reached the highest rung that enough have reached, and those that are on their way.

        Each with its best score until that rung, whether it was stopped later or not; so it is complete as far as the
        rung goes. A trial that ended of itself counts at all higher rungs as it ended. The end of the training is the
        highest rung of all. Of very many trials only the best and the latest. Empty if no rung has `random_trials`.
        """
        high_enough = (rung for rung, known in self._rungs.items() if len(known) >= self._enough)
        highest = max(high_enough, default=None)
        return [] if highest is None else self._with_running(self._rungs[highest])

    def _with_running(self, known: "_Known") -> list[Observation]:
        on_their_way = sorted(number for number in self._scores if number not in known)
        return [*known.chosen(), *(Observation(number, self._values[number], "running") for number in on_their_way)]


class _Known:
    """Observations by number, which knows its best ones without looking through all of them."""

    def __init__(self, like: "_Known | None" = None) -> None:
        self._by_number: dict[int, Observation] = dict(like._by_number) if like else {}
        self._ranked: list[tuple[float, float, int]] = list(like._ranked) if like else []  # ascending

    def __len__(self) -> int:
        return len(self._by_number)

    def __contains__(self, number: int) -> bool:
        return number in self._by_number

    def add(self, one: Observation) -> None:
        """Keep an observation, in the place of an earlier one of the same trial."""
        self.drop(one.number)
        self._by_number[one.number] = one
        bisect.insort(self._ranked, _rank(one))

    def drop(self, number: int) -> None:
        """Forget a trial, if it is known."""
        if one := self._by_number.pop(number, None):
            del self._ranked[bisect.bisect_left(self._ranked, _rank(one))]

    def chosen(self) -> list[Observation]:
        """Give the best and, of the others, the latest; in the order of their numbers."""
        numbers = sorted(self._by_number)
        if len(numbers) > _BEST + _LATEST:
            best = {number for *_, number in self._ranked[-_BEST:]}
            latest = islice((number for number in reversed(numbers) if number not in best), _LATEST)
            numbers = sorted([*best, *latest])
        return [self._by_number[number] for number in numbers]


def _rank(one: Observation) -> tuple[float, float, int]:
    return one.epoch, one.score, one.number
