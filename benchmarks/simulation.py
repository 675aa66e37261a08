"""A cluster of stub trials on a simulated clock, around the real Bridge, SearchSession, Study and Asha.

The driver's own work is really done and really timed; only the trials' seconds are simulated. The driver does one thing
after another, as in Ray's event loop: what arrives meanwhile waits, and the worker that told of it stands idle.
"""

import heapq
import itertools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.memory import resident_mb
from tune_cnn.config import TrialConfig
from tune_cnn.models.trunk import frozen_units_of, trunk_of
from tune_cnn.results.effective import write_effective
from tune_cnn.results.records import EpochRecord, RunFolder, TrialFacts, TrialFolder
from tune_cnn.results.trial_files import new_best
from tune_cnn.search.bridge import Bridge, epoch_message
from tune_cnn.search.jobs import Job
from tune_cnn.search.session import SearchSession
from tune_cnn.search.study import Study
from tune_cnn.space.schema import Space

_FINGERPRINT = "0" * 64


class Clock:
    """Simulated seconds; while the driver works, they go on as fast as real ones."""

    def __init__(self) -> None:
        self.cpu_seconds = 0.0
        """Of the driver's work so far, user and system together: what other programs on the machine do not spoil."""
        self._simulated = 0.0
        self._began: float | None = None

    def __call__(self) -> float:
        """Give the simulated time now."""
        return self._simulated + (time.perf_counter() - self._began if self._began is not None else 0.0)

    def work(self, start: float, act: Callable[[], object]) -> float:
        """Let the driver do something from `start` on, and give when it was done."""
        self._simulated, self._began = start, time.perf_counter()
        cpu_before = time.process_time()
        act()
        self.cpu_seconds += time.process_time() - cpu_before
        done = self()
        self._simulated, self._began = done, None
        return done


@dataclass
class Outcome:
    """What a simulation showed."""

    slots: int
    trials: int
    simulated_seconds: float
    busy_seconds: float
    """Of all slots together."""
    driver_seconds: float
    messages: int
    driver_cpu_seconds: float = 0.0
    propose_ms: list[float] = field(default_factory=list)
    """For each trial in turn."""
    resident_mb: list[float] = field(default_factory=list)
    """Of the driver, after each trial."""

    @property
    def busy_share(self) -> float:
        """The share of the slots' time in which they trained, from the first proposal to the last trial's end."""
        return self.busy_seconds / (self.slots * self.simulated_seconds)

    @property
    def results_per_second(self) -> float:
        """How many epochs the driver can take per second of its own time, proposals and ends of trials included."""
        return self.messages / self.driver_seconds

    @property
    def busy_ceiling(self) -> float:
        """The share that a driver which takes no time would reach: the last wave of trials leaves slots empty."""
        return self.trials / (self.slots * math.ceil(self.trials / self.slots))


@dataclass
class _Slot:
    key: str
    job: Job
    read_back: Mapping[str, Any] | None
    """What it has not told of yet."""
    epoch: int = 0


def open_session(space: Space, folder: Path, clock: Callable[[], float]) -> SearchSession:
    """Open a session as a search does, without images or weights."""
    run = RunFolder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    study = Study.open(run.study, space.search)
    return SearchSession(space, study, run, weights_files=_AnyWeights(), data=_FINGERPRINT, clock=clock)


class _AnyWeights(dict[tuple[str, str], Path | None]):
    """Weights that are never loaded."""

    def __missing__(self, _pair: tuple[str, str]) -> None:
        return None


def simulate(space: Space, folder: Path, *, slots: int, epoch_seconds: float) -> Outcome:
    """Run a space's trials to their end on so many simulated slots.

    Args:
        space: what is searched; `training.epochs` and `search.trials` say how much.
        folder: for the run folder.
        slots: trials at a time.
        epoch_seconds: what a stub takes for an epoch.
    """
    clock = Clock()
    return _Cluster(open_session(space, folder, clock), clock, slots, epoch_seconds).run()


class _Cluster:
    """Slots that train, and a driver that hears of it."""

    def __init__(self, session: SearchSession, clock: Clock, slots: int, epoch_seconds: float) -> None:
        self._session, self._clock, self._epoch_seconds = session, clock, epoch_seconds
        self._bridge = Bridge(session, lambda: slots)
        self._events: list[tuple[float, int, _Slot | None]] = [(0.0, place, None) for place in range(slots)]
        self._order = itertools.count(slots)
        self._outcome = Outcome(slots, 0, 0.0, 0.0, 0.0, 0)

    def run(self) -> Outcome:
        """Take events as they arrive until nothing runs any more."""
        now = 0.0
        while self._events:
            arrived, _, slot = heapq.heappop(self._events)
            now = max(now, arrived)
            now = self._next_trial(now) if slot is None else self._epoch_ends(now, slot)
        self._outcome.simulated_seconds = now
        self._outcome.driver_cpu_seconds = self._clock.cpu_seconds
        return self._outcome

    def _next_trial(self, now: float) -> float:
        key, jobs = str(next(self._order)), list[Job | None]()
        done = self._work(now, lambda: jobs.append(self._bridge.propose(key)))
        if jobs[0] is not None:
            self._outcome.propose_ms.append(1000 * (done - now))
            read_back = write_read_back(jobs[0].config, self._session.run.trial(jobs[0].number))
            self._train(done, _Slot(key, jobs[0], read_back))
        return done

    def _epoch_ends(self, now: float, slot: _Slot) -> float:
        slot.epoch += 1
        self._outcome.busy_seconds += self._epoch_seconds
        self._outcome.messages += 1
        folder, config = self._session.run.trial(slot.job.number), slot.job.config
        with new_best(folder, slot.epoch) as part:
            (part / "model.safetensors").write_bytes(b"weights")
        epoch, goes_on = epoch_of(config, slot.epoch, self._epoch_seconds), list[bool]()
        message = epoch_message(epoch, facts_of(config), 500.0, read_back=slot.read_back)
        slot.read_back = None
        done = self._work(now, lambda: goes_on.append(self._bridge.on_message(slot.key, message)))
        if goes_on[0] and slot.epoch < config.training.epochs:
            self._train(done, slot)
            return done
        done = self._work(done, lambda: self._bridge.on_end(slot.key, failed=False))
        self._outcome.trials += 1
        self._outcome.resident_mb.append(resident_mb())
        return self._next_trial(done)

    def _train(self, now: float, slot: _Slot) -> None:
        heapq.heappush(self._events, (now + self._epoch_seconds, next(self._order), slot))

    def _work(self, start: float, act: Callable[[], object]) -> float:
        done = self._clock.work(start, act)
        self._outcome.driver_seconds += done - start
        return done


def write_read_back(config: TrialConfig, folder: TrialFolder) -> Mapping[str, Any]:
    """Write what a worker reads back from its live objects, which the driver compares, and give it."""
    facts: Mapping[str, object] = {"phase": "train", "frozen_units": frozen_units_of(config.model)}
    return write_effective(folder.effective, config, live={}, observed=facts)


def facts_of(config: TrialConfig) -> TrialFacts:
    """Give what a trial tells of its network."""
    model = config.model
    return TrialFacts(1000, 10, 1.5, frozen_units_of(model), len(trunk_of(model).line), "cpu")


def epoch_of(config: TrialConfig, epoch: int, seconds: float) -> EpochRecord:
    """Give an epoch that looks like one: the score rises, more for some learning rates than for others."""
    lr = config.training.optimizer.lr
    score = round(1 / (1 + abs(math.log10(lr) + 3)) * (1 - 0.5**epoch), 6)
    scores = {f"{split}_{name}": score for split in ("train", "val") for name in ("loss", "accuracy", "macro_f1")}
    return EpochRecord(epoch, seconds, lr, frozen_units=0, score=score, scores=scores, ms_per_image=1.0)
