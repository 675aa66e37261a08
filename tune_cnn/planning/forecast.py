"""How long a search will still take: the plan's model, corrected by what trials really take. No torch, no Ray.

Before anything ran, prices come from the measurements of `tune-cnn plan`, if it was called for this space on this
machine, else from guesses that only say how configurations compare. Every epoch that a trial tells of corrects them.
Then some searches are simulated from where this one stands.
"""

import math
import random
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tune_cnn.config import TrialConfig
from tune_cnn.planning.correction import Correction
from tune_cnn.planning.cost import Costs, Images, Price
from tune_cnn.planning.guess import guessed_times
from tune_cnn.planning.measuring import Pool
from tune_cnn.planning.simulate import Past, listed_end, repeat_seconds, simulate
from tune_cnn.planning.work import Work, work_of
from tune_cnn.results.records import EpochRecord, TrialRecord
from tune_cnn.sections.search import SearchConfig
from tune_cnn.space.schema import Space
from tune_cnn.training.plan import WARM_UP
from tune_cnn.training.times import ImageTimes

_DRAWS = 200
_SIMULATED = 9
_SHARE_OF_TIME = 0.01
"""At most so much of the search's time goes into forecasts."""
_LEAST_SECONDS_BETWEEN = 5.0
_ROUND_TRIP_SECONDS = 0.5
_MOST_WORKS = 1000
"""Trials whose configurations are remembered; of older ones only the scores count."""


@dataclass(frozen=True)
class Moment:
    """Where a search stands."""

    records: Sequence[TrialRecord]
    """Of all trials that have begun."""
    running: Mapping[int, TrialConfig]
    """Of those that run, or wait to go on."""
    seconds_left: float
    """Of the time budget, for trials and finals together; infinite without one."""


class Forecast:
    """Learns from epochs and ends of trials, and says what is left."""

    def __init__(
        self,
        space: Space,
        counts: Images,
        *,
        slots: int,
        measured: Costs | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with what is known before the first epoch.

        Args:
            space: what is searched.
            counts: how many images there are.
            slots: trials at a time.
            measured: by `tune-cnn plan`; None if it was not called.
            clock: seconds that only go forward.

        Raises:
            SpaceFileError: the space names a backbone that there is not.
        """
        self.slots = slots
        self._search: SearchConfig = space.search
        self._pool = Pool.drawn(space, _DRAWS)
        self.measured = measured is not None
        """Whether `tune-cnn plan` has measured what the space may draw."""
        self._costs = measured or _guessed(self._pool, counts)
        self._clock = clock
        self._correction = Correction()
        self._works: dict[int, Work] = {}
        self._built: set[str] = set()
        self._overheads: list[float] = []
        self._left: tuple[float, float] | None = None
        self._due = 0.0

    def on_epoch(self, trial: int, config: TrialConfig, epoch: EpochRecord) -> None:
        """Take in what an epoch took. One told twice counts twice, for no more than its own trial."""
        warm_up = epoch.phase == WARM_UP
        asked = self._works[trial] = work_of(config)
        if len(self._works) > _MOST_WORKS:
            del self._works[next(iter(self._works))]
        price = self._price(asked)
        builds = [build for build in price.builds(epoch.epoch, warm_up=warm_up) if build.key not in self._built]
        self._built |= {build.key for build in builds}
        said = price.epoch(warm_up=warm_up).seconds + sum(build.seconds for build in builds)
        work = _in_phase(asked, warm_up=warm_up)
        self._correction.take_in(trial, epoch.phase, work, said_seconds=said, took_seconds=epoch.seconds)

    def on_end(self, seconds_besides_epochs: float) -> None:
        """Take in what a trial took besides its epochs, from the moment it was handed out."""
        self._overheads.append(max(0.0, seconds_besides_epochs))

    def update(self, moment: Callable[[], Moment], *, force: bool = False) -> None:
        """Forecast anew, unless that was done so lately that it would take too much of the time."""
        started = self._clock()
        if not self._knows_enough or (started < self._due and not force):
            return
        left = self._simulated(moment())
        ended = self._clock()
        self._left = (left, ended)
        self._due = ended + max(_LEAST_SECONDS_BETWEEN, (ended - started) / _SHARE_OF_TIME)

    @property
    def seconds_left(self) -> float | None:
        """Trials and finals; None as long as there is nothing to go by."""
        if self._left is None:
            return None
        left, said_at = self._left
        return max(0.0, left - (self._clock() - said_at))

    def finals_seconds_left(self, waiting: Iterable[TrialConfig], running: Iterable[tuple[TrialConfig, int]]) -> float:
        """Say how long the finals will still take.

        Args:
            waiting: configurations of repeats that have not begun, in their order.
            running: those that have, with the epochs they are through.
        """
        left = []
        for config, done in running:
            price = self._corrected(work_of(config))
            epochs = 1 if price.work.fitted else config.training.epochs
            left.append(max(0, epochs - done) * (price.train.seconds / price.work.folds + price.save_seconds))
        return listed_end([*left, *(repeat_seconds(self._corrected(work_of(one))) for one in waiting)], self.slots)

    @property
    def _knows_enough(self) -> bool:
        """Whether there are measurements, or every slot has told of an epoch."""
        return self.measured or self._correction.trials >= min(self.slots, self._search.trials)

    def _simulated(self, moment: Moment) -> float:
        prices = [self._corrected(work) for work in self._pool.works]
        past = [self._past(record, moment, prices[0]) for record in moment.records]
        found = [
            simulate(
                self._search,
                prices,
                slots=self.slots,
                rng=random.Random(seed),  # noqa: S311 - a forecast that jumps about for no reason helps nobody
                first=prices[0],
                past=past,
                start_seconds=0.0 if past else self._costs.start_seconds,
                seconds_left=moment.seconds_left,
            ).seconds
            for seed in range(_SIMULATED)
        ]
        return statistics.median(found)

    def _past(self, record: TrialRecord, moment: Moment, default: Price) -> Past:
        config = moment.running.get(record.trial)
        work = work_of(config) if config else self._works.get(record.trial)
        price = default if work is None else self._corrected(work)
        score = max((epoch.score for epoch in record.epochs), default=-math.inf)
        return Past(price, len(record.epochs), score, running=config is not None)

    def _corrected(self, work: Work) -> Price:
        """Price a configuration by what those like it have taken."""
        price = self._price(work)
        warm, proper = (self._correction.factor(_in_phase(work, warm_up=phase)) for phase in (True, False))
        begin = statistics.median(self._overheads) if self._overheads else price.begin_seconds
        saved = bool(self._overheads)  # what saving takes is within what trials take besides their epochs
        return replace(
            price,
            begin_seconds=begin,
            warm_up=price.warm_up.scaled(warm),
            train=price.train.scaled(proper),
            save_seconds=0.0 if saved else price.save_seconds,
            save_best_seconds=0.0 if saved else price.save_best_seconds,
        )

    def _price(self, work: Work) -> Price:
        if work.model not in self._costs.models:  # of a mixture that the draws did not come to
            asked = work.model
            nearest = min(self._costs.models, key=lambda key: (key.label != asked.label, abs(key.px - asked.px)))
            units = len(self._costs.models[nearest].unit_seconds)
            work = replace(work, model=nearest, units=units, frozen_units=min(work.frozen_units, units))
        return self._costs.price(work)


def _in_phase(work: Work, *, warm_up: bool) -> Work:
    return replace(work, frozen_units=work.units) if warm_up else work


def _guessed(pool: Pool, counts: Images) -> Costs:
    """Price by guesses: what images take is left out, and seconds are of no meaning before an epoch was seen."""
    models = {one.key: guessed_times(one.example) for one in pool.candidates()}
    images = {key.px: ImageTimes(0.0, 0.0, {}) for key in models}
    return Costs(models, images, counts, begin_seconds=_ROUND_TRIP_SECONDS)
