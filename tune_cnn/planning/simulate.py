"""A search simulated on paper: trials of known price on so many slots, judged by our own ASHA. No torch, no Ray.

How scores come about is an assumption, the same for every configuration, cheap or dear:

    score(epoch) = final - gap * exp(-epoch / pace) + noise

`final` differs from trial to trial (0.75 ± 0.12), every trial begins 0.35 below its own, with a pace that is an eighth
of its epochs in the median (times or divided by 2.2) and noise of 0.015. The sampler is taken for a random one. What
matters of this is how many trials ASHA stops at each rung, which depends on ranks alone, and when a trial's own
patience ends.
"""

import heapq
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from tune_cnn.asha import Asha
from tune_cnn.planning.cost import Build, Price
from tune_cnn.sections.search import SearchConfig
from tune_cnn.training.plan import EarlyStopping, Phase, plan_phases, train_phase

_FINAL, _FINAL_SPREAD, _GAP, _PACE_SHARE, _PACE_SPREAD, _NOISE = 0.75, 0.12, 0.35, 1 / 8, 0.8, 0.015


@dataclass(frozen=True)
class Curve:
    """Scores of one made-up trial."""

    final: float
    pace_epochs: float
    noise: tuple[float, ...]

    @classmethod
    def drawn(cls, rng: random.Random, epochs: int) -> "Curve":
        """Draw a curve of so many epochs."""
        pace = max(1.0, epochs * _PACE_SHARE) * math.exp(rng.gauss(0, _PACE_SPREAD))
        return cls(rng.gauss(_FINAL, _FINAL_SPREAD), pace, tuple(rng.gauss(0, _NOISE) for _ in range(epochs)))

    def score(self, epoch: int) -> float:
        """Give the score after an epoch, counted from 1."""
        return self.final - _GAP * math.exp(-epoch / self.pace_epochs) + self.noise[epoch - 1]


@dataclass(frozen=True)
class Past:
    """A trial that has begun before the simulation does."""

    price: Price
    epochs: int
    best_score: float
    """Of any scale: only the order of trials counts."""
    running: bool


@dataclass(frozen=True)
class Simulated:
    """How one search went."""

    seconds: float
    """From its start, or from now where trials had begun before, to the end of its finals."""
    finals_seconds: float
    trials: int
    """That have begun."""
    stopped: int
    """Of these, by ASHA or because the time was spent."""
    epochs: int
    """Trained in the simulation, without finals."""
    built: tuple[Build, ...]
    """What was made for all trials."""


class _Trial:
    """One trial on its way: knows its own phases and patience, as the training loop does."""

    def __init__(self, number: int, price: Price, curve: Curve) -> None:
        self.number, self.price, self.curve = number, price, curve
        self.epoch = 0
        self.stopped = False
        self._phase: Phase = plan_phases(price.training)[0]
        self._stopping = EarlyStopping(self._phase.stop_patience_epochs)

    @property
    def best_score(self) -> float:
        return self._stopping.best_score

    @property
    def warm_up(self) -> bool:
        """Whether the epoch that comes next belongs to the warm-up."""
        return self._phase.is_warm_up and not self.price.work.fitted

    @property
    def over(self) -> bool:
        """Whether it has come to its own end."""
        return bool(self.epoch) if self.price.work.fitted else not self._phase.is_warm_up and self._phase_over

    def advance(self) -> bool:
        """Go through an epoch; True if it is the best so far."""
        self.epoch += 1
        is_best = self._stopping.update(self.epoch, self.curve.score(self.epoch))
        if self._phase.is_warm_up and self._phase_over:
            self._phase = train_phase(self.price.training, self.epoch + 1)
            self._stopping.begin(self._phase.stop_patience_epochs)
        return is_best

    @property
    def _phase_over(self) -> bool:
        return self.epoch >= self._phase.last_epoch or self._stopping.exhausted


@dataclass
class _Simulation:
    search: SearchConfig
    slots: int
    rng: random.Random
    deadline: float
    """Seconds after which nothing begins and what runs is stopped."""
    asha: Asha | None
    ready: dict[tuple[str, str], float] = field(default_factory=dict)
    """When what is shared is there."""
    built: list[Build] = field(default_factory=list)
    ended: list[_Trial] = field(default_factory=list)
    epochs: int = 0
    queue: list[tuple[float, int, _Trial]] = field(default_factory=list)

    def begin(self, trial: _Trial, now: float) -> None:
        self._next_epoch(trial, now + trial.price.begin_seconds)

    def run(self, waiting: list[_Trial], start: float) -> float:
        """Go through trials in the order in which their epochs end; give when the last one does."""
        waiting.reverse()
        now = start
        while waiting and len(self.queue) < self.slots and start < self.deadline:
            self.begin(waiting.pop(), start)
        while self.queue:
            now, _, trial = heapq.heappop(self.queue)
            if self._goes_on(trial, now):
                self._next_epoch(trial, now)
                continue
            self.ended.append(trial)
            if waiting and now < self.deadline:
                self.begin(waiting.pop(), now)
        return now

    def _goes_on(self, trial: _Trial, now: float) -> bool:
        """Judge an epoch as the search session does: what has come to its end is complete, whatever ASHA says."""
        judged = self.asha is None or self.asha.may_go_on(trial.number, trial.epoch, trial.best_score)
        if trial.epoch >= trial.price.training.epochs:
            return False
        trial.stopped = not judged or (now >= self.deadline and not trial.over)
        return not trial.stopped and not trial.over

    def _next_epoch(self, trial: _Trial, now: float) -> None:
        price = trial.price.epoch(warm_up=trial.warm_up)
        for build in trial.price.builds(trial.epoch + 1, warm_up=trial.warm_up):
            now = self._made(build, now)
        self.epochs += 1
        is_best = trial.advance()
        saving = trial.price.save_seconds + (trial.price.save_best_seconds if is_best else 0.0)
        heapq.heappush(self.queue, (now + price.seconds + saving, trial.number, trial))

    def _made(self, build: Build, now: float) -> float:
        """Wait for what another trial makes, or make it."""
        key = (build.kind, build.key)
        if key not in self.ready:
            self.built.append(build)
            self.ready[key] = now + build.seconds
        return max(now, self.ready[key])


def simulate(
    search: SearchConfig,
    prices: Sequence[Price],
    *,
    slots: int,
    rng: random.Random,
    first: Price | None = None,
    past: Sequence[Past] = (),
    start_seconds: float = 0.0,
    seconds_left: float = math.inf,
) -> Simulated:
    """Play one search through to its end.

    Args:
        search: trials, ASHA and finals; its hours count by `seconds_left`.
        prices: of configurations drawn from the space, with as many of each sort as are likely; trials are drawn from
            them.
        slots: trials at a time.
        rng: what differs from one simulation to the next.
        first: the configuration of trial 0, where it has not begun.
        past: trials that have begun already.
        start_seconds: before the first trial begins.
        seconds_left: of the time budget, for trials and finals together.
    """
    reserve = min(_finals_reserve(search, prices, slots), seconds_left / 2) if seconds_left < math.inf else 0.0
    asha = Asha(search.asha) if search.asha else None
    played = _Simulation(search, slots, rng, seconds_left - reserve, asha)
    running = _replay(played, past)
    for trial in running:
        played._next_epoch(trial, 0.0)
    numbers = range(len(past), search.trials)
    new = [first if first and number == 0 else rng.choice(prices) for number in numbers]
    waiting = [_Trial(number, price, _curve(price, rng)) for number, price in zip(numbers, new, strict=True)]
    trials_end = played.run(waiting, start_seconds)
    begun = [*played.ended]
    end = _finals_end(search, begun, slots, trials_end, seconds_left)
    return Simulated(
        seconds=end,
        finals_seconds=end - trials_end,
        trials=len(begun),
        stopped=sum(trial.stopped for trial in begun),
        epochs=played.epochs,
        built=tuple(played.built),
    )


def _curve(price: Price, rng: random.Random) -> Curve:
    return Curve.drawn(rng, price.training.epochs)


def _replay(played: _Simulation, past: Sequence[Past]) -> list[_Trial]:
    """Give each past trial a drawn curve that ranks as its own scores do, and fill ASHA's rungs with them.

    What its epochs needed is there.

    Returns:
        Those that run, where they stand.
    """
    order = sorted(range(len(past)), key=lambda place: past[place].best_score)
    curves = [_curve(past[place].price, played.rng) for place in order]
    finals = sorted(curve.final for curve in curves)
    running: list[_Trial] = []
    for place, curve, final in zip(order, curves, finals, strict=True):
        known = past[place]
        trial = _Trial(place, known.price, Curve(final, curve.pace_epochs, curve.noise))
        for _ in range(known.epochs):
            builds = known.price.builds(trial.epoch + 1, warm_up=trial.warm_up)
            played.ready |= {(build.kind, build.key): 0.0 for build in builds}
            trial.advance()
            if played.asha:
                played.asha.may_go_on(trial.number, trial.epoch, trial.best_score)
        if known.running and not (known.epochs and trial.over):
            running.append(trial)
        else:
            played.ended.append(trial)
    return running


def _finals_reserve(search: SearchConfig, prices: Sequence[Price], slots: int) -> float:
    """The time that a search keeps back for its finals: all epochs of its dearest finalists, in the mean of draws."""
    if search.finals is None:
        return 0.0
    each = [repeat_seconds(price) for price in prices]
    return sum(each) / len(each) * -(-search.finals.top * search.finals.repeats // slots)


def _finals_end(search: SearchConfig, trials: Sequence[_Trial], slots: int, begin: float, latest: float) -> float:
    """Say when the finals of a search are over: the best configurations again, all epochs, as many times as asked."""
    if search.finals is None or not trials:
        return begin
    best = sorted(trials, key=lambda trial: trial.best_score, reverse=True)[: search.finals.top]
    heats = [
        repeat_seconds(trial.price)
        for repeat in range(search.finals.repeats)
        for trial in best
        if repeat == 0 or not trial.price.work.fitted
    ]
    return min(listed_end(heats, slots, begin), max(begin, latest))


def repeat_seconds(price: Price) -> float:
    """One training of the finals: all epochs, of a trial with folds a single training."""
    epochs = 1 if price.work.fitted else price.training.epochs
    warm = 0 if price.work.fitted else price.training.warm_up.epochs
    spent = warm * price.warm_up.seconds + (epochs - warm) * price.train.seconds + epochs * price.save_seconds
    return price.begin_seconds + spent / price.work.folds


def listed_end(seconds: Sequence[float], slots: int, begin: float = 0.0) -> float:
    """Say when a list of tasks is done, each begun in its order as soon as a slot is free."""
    free = [begin] * slots
    for each in seconds:
        heapq.heappushpop(free, free[0] + each)
    return max(free)
