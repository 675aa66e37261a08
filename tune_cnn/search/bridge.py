"""Between a session and whoever executes its jobs: jobs go out by key, messages come back as text. Knows no Ray.

An executor may swallow what is raised in its callbacks, or blame a trial for it. So whatever ends the search as a whole
is kept here, nothing more is proposed after it, and the caller raises it once the executor has let go.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from tune_cnn.errors import ChangedDataError, StoreError, UnreachedTrialError
from tune_cnn.planning.slots import waiting_text
from tune_cnn.results.failures import Failure
from tune_cnn.results.records import EpochRecord, TrialFacts, TrialFolder
from tune_cnn.search.jobs import Job
from tune_cnn.search.last_words import LastWords
from tune_cnn.search.retries import KILLED, Loss, Retries

_EPOCH, _FAILURE, _EFFECTIVE, _AWAY, _READ_BACK = "epoch", "failure", "effective", "away", "read_back"
_SECONDS_TO_START = 60.0
_SECONDS_TO_HOLD = 60.0
"""So long a job that cannot be taken up yet keeps its slot; after that others go first."""
DIED = Failure(KILLED, "worker")


def epoch_message(
    epoch: EpochRecord,
    facts: TrialFacts,
    peak_memory_mb: float | None,
    effective: str | None = None,
    *,
    read_back: Mapping[str, Any] | None = None,
) -> str:
    """Tell of an epoch.

    Args:
        epoch: what was measured.
        facts: of the trial.
        peak_memory_mb: None where it is not measured.
        effective: the text of effective.yaml where the driver cannot see the trial's folder: in a worker's first
            message, and whenever it has changed.
        read_back: what effective.yaml holds, as data, with the first epoch of each phase: who has it need not read it
            out of the file's text, which takes a driver longer than all else about an epoch. None at other times.
    """
    told: dict[str, Any] = {_EPOCH: epoch.as_json(), "facts": facts.as_json(), "peak_memory_mb": peak_memory_mb}
    if effective is not None:
        told[_EFFECTIVE] = effective
    if read_back is not None:
        told[_READ_BACK] = read_back
    return json.dumps(told)


def failure_message(failure: Failure, *, away: bool | None = None) -> str:
    """Tell why the trial is about to fail.

    Args:
        failure: why.
        away: whether the driver cannot see the folder that the worker was in; None if it had come to none.
    """
    return json.dumps({_FAILURE: failure.as_json(), _AWAY: away})


class Session(Protocol):
    """Proposes jobs and is told what becomes of them: a search, or its finals."""

    def propose(self) -> Job | None:
        """Give the next job; None if there are no more."""

    def on_epoch(self, number: int, epoch: EpochRecord, facts: TrialFacts, peak_memory_mb: float | None, /) -> bool:
        """Take in an epoch; True if the job may go on."""

    def on_read_back(self, number: int, tree: Mapping[str, Any], /) -> None:
        """Take in what a job's effective.yaml holds, before the epoch that is told with it."""

    def on_end(self, number: int, failure: str | None, /) -> None:
        """Take in that a job has ended: of itself, because it was stopped, or with a failure in one line."""

    def next_epoch(self, number: int, /) -> int:
        """Give the epoch that a running job is in."""

    def on_retry(self, number: int, text: str, losses: Sequence[Loss], /) -> None:
        """Take in that a job was interrupted and goes on elsewhere.

        Args:
            number: of the job.
            text: what happened, for people.
            losses: all that has happened to it so far; to be kept, and given with the job by later sessions.
        """

    def on_slots(self, concurrent: int, /) -> None:
        """Take in that from now on so many jobs can run at a time; 0 while there is no machine for any."""

    def on_waiting(self, text: str, /) -> None:
        """Take in that jobs have been out for long and no worker has begun with them: how many, for people."""


class Elsewhere(Protocol):
    """Told of jobs whose folder the driver cannot see."""

    def check(self) -> None:
        """Make sure that the search may go on; raises what ends it."""

    def on_away(self, folder: Path, effective: str, /) -> None:
        """Take in that a job runs on another machine, and what effective.yaml holds there; empty if there is none."""

    def on_home(self, folder: Path, /) -> None:
        """Take in that a worker has begun with a job in this very folder; it may have been away before."""

    def before_begin(self, folder: Path, /) -> bool:
        """Make ready for a worker to take a job up, wherever it is; False while that takes time: ask again."""

    def before_end(self, number: int, folder: Path, epoch: int, /) -> bool:
        """Bring a job's folder here, if it was away; False while what it did in an epoch is still on its way."""


class Bridge:
    """Hands jobs out and takes messages in; `broken` is what ended the search, if anything did."""

    def __init__(
        self,
        session: Session,
        slots: Callable[[], int],
        elsewhere: Elsewhere | None = None,
        *,
        shunned: set[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to hand out jobs.

        Args:
            session: whose jobs.
            slots: says how many jobs can run at a time just now. The session is told when that changes.
            elsewhere: told of jobs whose folder cannot be seen from here.
            shunned: where the ids of machines are kept that no job may run on, as they differ from the driver's.
            clock: seconds that only go forward.
        """
        self.broken: Exception | None = None
        self._shunned = set() if shunned is None else shunned
        self._session, self._slots, self._elsewhere, self._clock = session, slots, elsewhere, clock
        self._told_slots = slots()
        self._jobs: dict[str, Job] = {}
        """Those that run, or wait for a worker that was asked for."""
        self._unheard: set[str] = set()
        """Jobs of which no worker has told anything."""
        self._out_since: dict[str, float] = {}
        """Of jobs that no worker has begun with: when they were given out. Those that were told of are left out."""
        self._failures: dict[str, Failure] = {}
        self._last_words: dict[str, LastWords] = {}
        self._retries = Retries()
        self._interrupted: list[Job] = []
        """Those that are to go on, or to begin as soon as they may."""
        self._held_since: dict[int, float] = {}
        """Of those that may not be taken up yet, by their numbers."""
        self._on_their_way: list[tuple[Job, str | None]] = []
        """Those that have ended elsewhere, and why they failed."""
        self._all_proposed = False

    @property
    def over(self) -> bool:
        """Whether there will be no more jobs: none is left, none may have to be tried again, and all are here."""
        waits = self._jobs or self._interrupted or self._on_their_way
        return self.broken is not None or (self._all_proposed and not waits)

    @property
    def running(self) -> tuple[str, ...]:
        """The keys of the jobs that are out."""
        return tuple(self._jobs)

    def propose(self, key: str) -> Job | None:
        """Give the next job, known as `key` from now on; None if there is none now, or no more at all: see `over`."""
        if self.broken:
            return None
        with self._kept():
            if self._elsewhere:
                self._elsewhere.check()
            self._close_those_that_arrived()
            self._tell_of_waiting()
            job = self._next(free=self._slots_now() - len(self._jobs))
            if job is not None:
                job = replace(job, told_epochs=self._session.next_epoch(job.number) - 1)
        if job is not None:
            self._jobs[key], self._out_since[key] = job, self._clock()
            self._unheard.add(key)
            self._last_words[key] = LastWords(TrialFolder(job.folder).log, job.note)
        return job

    def on_start(self, key: str) -> None:
        """Take in that a worker begins with a job."""
        self._out_since.pop(key, None)

    def on_message(self, key: str, text: str) -> bool:
        """Take in what a job's worker tells; True if it may go on."""
        if self.broken or key not in self._jobs:
            return False
        message = json.loads(text)
        with self._kept():
            self._take_in_where(key, message)
        if _FAILURE in message:
            self._failures[key] = Failure(**message[_FAILURE])
            return True
        epoch, facts = EpochRecord.from_json(message[_EPOCH]), TrialFacts(**message["facts"])
        with self._kept():
            number = self._jobs[key].number
            if _READ_BACK in message:
                self._session.on_read_back(number, message[_READ_BACK])
            return self._session.on_epoch(number, epoch, facts, message["peak_memory_mb"])

    def _take_in_where(self, key: str, message: Mapping[str, Any]) -> None:
        """Tell of where a worker is before what it did is taken in: a kill in between must not leave that in doubt."""
        is_first = key in self._unheard
        self._unheard.discard(key)
        away = message[_AWAY] if _FAILURE in message else _EFFECTIVE in message
        if self._elsewhere and away:
            self._elsewhere.on_away(self._jobs[key].folder, message.get(_EFFECTIVE, ""))
        elif self._elsewhere and is_first and away is False:
            self._elsewhere.on_home(self._jobs[key].folder)

    def on_end(self, key: str, *, failed: bool, lost: Failure = DIED) -> None:
        """Take in that a job has ended.

        A trial is not blamed for what would have struck any other in its place: it stays open, and the search ends.

        Args:
            key: of the job.
            failed: whether its worker raised or was lost. Who ends quietly has failed too if it told of a failure.
            lost: what became of its worker, if that has left no word of it, neither to us nor in its log.
        """
        if self.broken or key not in self._jobs:
            return
        job = self._jobs.pop(key)
        self.on_start(key)
        told, left = self._failures.pop(key, None), self._last_words.pop(key)
        failure = told or ((left.failure() or lost) if failed else None)
        match failure:
            case Failure(reason, "store"):
                self.broken = StoreError(f"trial {job.number} could not go on: {reason}; see to the disk, then go on")
            case Failure(reason, "data"):
                self.broken = ChangedDataError(reason.removeprefix(f"{ChangedDataError.__name__}: "))
            case Failure(reason, "machine", machine):
                with self._kept():
                    self._shun(job, reason, machine)
            case Failure(reason, "storage"):
                with self._kept():
                    self._put_off(job, f"waits ({reason.removeprefix(f'{UnreachedTrialError.__name__}: ')})")
            case _:
                with self._kept():
                    self._end(job, failure)

    def _end(self, job: Job, failure: Failure | None) -> None:
        if failure is None:
            self._retries.forget(job.number)
            self._close(job, None)
            return
        again = self._retries.again(job.number, failure, self._session.next_epoch(job.number))
        if again is None:
            self._close(job, self._retries.reason(job.number, failure).reason)
            return
        self._session.on_retry(job.number, again, self._retries.losses(job.number))
        self._interrupted.append(replace(job, note=again))

    def _shun(self, job: Job, reason: str, machine: str) -> None:
        """Let no more jobs run on a machine; the one that was not begun there is none the worse for it."""
        self._shunned.add(machine)
        self._put_off(job, f"was not begun on {reason}; that machine is given no more trials")

    def _put_off(self, job: Job, text: str) -> None:
        """Let a job that was not begun be tried again, as often as it takes."""
        self._session.on_retry(job.number, text, self._retries.losses(job.number))
        self._interrupted.append(job)

    def _close(self, job: Job, failure: str | None) -> None:
        told = self._session.next_epoch(job.number) - 1
        if self._elsewhere and not self._elsewhere.before_end(job.number, job.folder, told):
            self._on_their_way.append((job, failure))
            return
        self._session.on_end(job.number, failure)

    def _close_those_that_arrived(self) -> None:
        waiting, self._on_their_way = self._on_their_way, []
        for job, failure in waiting:
            self._close(job, failure)

    def _next(self, *, free: int) -> Job | None:
        """Give what was interrupted first, as its values are known to the sampler and its rungs are half filled."""
        if free <= 0:
            return None
        for job in self._interrupted:
            if self._may_begin(job):
                self._interrupted.remove(job)
                return job
        if self._all_proposed or free <= self._slots_held():
            return None
        new = self._session.propose()
        self._all_proposed = new is None
        if new is None:
            return None
        self._retries.take_up(new.number, new.losses)
        if self._may_begin(new):
            return new
        self._interrupted.append(new)
        return None

    def _may_begin(self, job: Job) -> bool:
        if self._elsewhere is None or self._elsewhere.before_begin(job.folder):
            self._held_since.pop(job.number, None)
            return True
        self._held_since.setdefault(job.number, self._clock())
        return False

    def _slots_held(self) -> int:
        now = self._clock()
        return sum(now - since < _SECONDS_TO_HOLD for since in self._held_since.values())

    def _slots_now(self) -> int:
        slots = self._slots()
        if slots != self._told_slots:
            self._session.on_slots(slots)
            self._told_slots = slots
        return slots

    def _tell_of_waiting(self) -> None:
        """Say once of each job that it finds no worker: it may wait for hours, and nothing else would tell."""
        now = self._clock()
        late = [key for key, since in self._out_since.items() if now - since > _SECONDS_TO_START]
        if late:
            self._session.on_waiting(waiting_text(len(late), _SECONDS_TO_START))
        for key in late:
            del self._out_since[key]

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # it goes on up, but may never arrive there
            self.broken = error
            raise
