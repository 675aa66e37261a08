"""A search on a simulated clock: our sampler and our ASHA, with curves from a table in place of training."""

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.curve_table import Curve
from tune_cnn.results.records import Scalar
from tune_cnn.search.asha import Asha
from tune_cnn.search.history import History
from tune_cnn.search.sampler import propose
from tune_cnn.sections.search import SearchConfig
from tune_cnn.space.schema import Space

Train = Callable[[Mapping[str, Scalar]], Curve]


@dataclass(frozen=True)
class Ended:
    """A trial that came to its end."""

    device_seconds: float
    """How long all workers together had been at it by then."""
    score: float
    """Of its best epoch."""


def run_search(space: Space, search: SearchConfig, train: Train, *, workers: int, device_seconds: float) -> list[Ended]:
    """Search until the time is up; give the trials that came to their end, in that order.

    Args:
        space: what is drawn from.
        search: its sampler, seed and ASHA; its budgets do not count.
        train: gives the curve of a configuration.
        workers: how many trials run at a time.
        device_seconds: the time of all workers together.
    """
    history, asha = History(search), Asha(search.asha) if search.asha else None
    curves: dict[int, Curve] = {}
    ended, events = [], [(0.0, -worker, 0) for worker in range(1, workers + 1)]
    heapq.heapify(events)
    while events and events[0][0] * workers <= device_seconds:
        now, number, epoch = heapq.heappop(events)
        if number >= 0 and _goes_on(history, asha, number, curves[number], epoch):
            heapq.heappush(events, (now + curves[number].seconds[epoch], number, epoch + 1))
            continue
        if number >= 0 and epoch == len(curves[number].scores):
            ended.append(Ended(now * workers, max(curves[number].scores)))
        number, drawn = len(history), propose(space, search, history)
        history.begin(number, drawn.values)
        curves[number] = train(drawn.values)
        heapq.heappush(events, (now + curves[number].seconds[0], number, 1))
    return ended


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
    screened: list[Curve] = []
    limit = device_seconds / workers
    while free[0] < limit / 2:
        values = propose(space, search, history).values
        history.begin(len(history), values)
        screened.append(train(values))
        heapq.heapreplace(free, free[0] + screened[-1].seconds[0])
    free, ended = [max(free)] * workers, []  # only once all are in can the best be told
    for curve in sorted(screened, key=lambda one: -one.scores[0]):
        end = heapq.heappop(free) + sum(curve.seconds[1:])
        heapq.heappush(free, end)
        if end <= limit:
            ended.append(Ended(end * workers, max(curve.scores)))
    return sorted(ended, key=lambda one: one.device_seconds)
