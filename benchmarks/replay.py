"""A search on a simulated clock: our sampler and our ASHA, with curves from a table in place of training."""

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.curve_table import Curve
from benchmarks.surrogate import Answer
from tune_cnn.asha import Asha
from tune_cnn.results.records import Scalar
from tune_cnn.search.history import History
from tune_cnn.search.sampler import propose
from tune_cnn.sections.search import SearchConfig
from tune_cnn.space.schema import Space

Train = Callable[[Mapping[str, Scalar]], Answer]


@dataclass(frozen=True)
class Ended:
    """A trial that came to its end."""

    device_seconds: float
    """How long all workers together had been at it by then."""
    score: float
    """Of its best epoch."""
    expected: float
    """The same without its luck."""


def run_search(space: Space, search: SearchConfig, train: Train, *, workers: int, device_seconds: float) -> list[Ended]:
    """Search until the time is up; give the trials that came to their end, in that order.

    Args:
        space: what is drawn from.
        search: its sampler, seed and ASHA; its budgets do not count.
        train: gives the curve of a configuration, and what is to be expected of it.
        workers: how many trials run at a time.
        device_seconds: the time of all workers together.
    """
    history, asha = History(search), Asha(search.asha) if search.asha else None
    answers: dict[int, Answer] = {}
    ended, events = [], [(0.0, -worker, 0) for worker in range(1, workers + 1)]
    heapq.heapify(events)
    while events and events[0][0] * workers <= device_seconds:
        now, number, epoch = heapq.heappop(events)
        if number >= 0 and _goes_on(history, asha, number, answers[number].curve, epoch):
            heapq.heappush(events, (now + answers[number].curve.seconds[epoch], number, epoch + 1))
            continue
        if number >= 0 and epoch == len(answers[number].curve.scores):
            ended.append(_ended(now * workers, answers[number]))
        number, drawn = len(history), propose(space, search, history)
        history.begin(number, drawn.values)
        answers[number] = train(drawn.values)
        heapq.heappush(events, (now + answers[number].curve.seconds[0], number, 1))
    return ended


def _ended(device_seconds: float, answer: Answer) -> Ended:
    return Ended(device_seconds, max(answer.curve.scores), answer.expected)


def _goes_on(history: History, asha: Asha | None, number: int, curve: Curve, epoch: int) -> bool:
    """Take in an epoch as a session does; True if another one follows."""
    history.report(number, epoch, curve.scores[epoch - 1])
    may = asha is None or asha.may_go_on(number, epoch, max(curve.scores[:epoch]))
    if epoch == len(curve.scores):
        history.finish(number, "complete")
        return False
    if not may:
        history.finish(number, "stopped")
    return may


def run_screening(
    space: Space, search: SearchConfig, train: Train, *, workers: int, device_seconds: float
) -> list[Ended]:
    """Give half of the time to one epoch of ever new configurations, the rest to the best of them, best first.

    Arguments and answer are those of `run_search`; random draws, and no ASHA.
    """
    history, free = History(search), [0.0] * workers
    screened: list[Answer] = []
    limit = device_seconds / workers
    while free[0] < limit / 2:
        values = propose(space, search, history).values
        history.begin(len(history), values)
        screened.append(train(values))
        heapq.heapreplace(free, free[0] + screened[-1].curve.seconds[0])
    free, ended = [max(free)] * workers, []  # only once all are in can the best be told
    for answer in sorted(screened, key=lambda one: -one.curve.scores[0]):
        end = heapq.heappop(free) + sum(answer.curve.seconds[1:])
        heapq.heappush(free, end)
        if end <= limit:
            ended.append(_ended(end * workers, answer))
    return sorted(ended, key=lambda one: one.device_seconds)
