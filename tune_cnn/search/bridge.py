"""Between a session and whoever executes its jobs: jobs go out by key, messages come back as text. Knows no Ray.

An executor may swallow what is raised in its callbacks, or blame a trial for it. So whatever ends the search as a whole
is kept here, nothing more is proposed after it, and the caller raises it once the executor has let go.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tune_cnn.errors import ChangedDataError, StoreError
from tune_cnn.results.failures import Failure
from tune_cnn.results.records import EpochRecord, TrialFacts
from tune_cnn.search.jobs import Job

_EPOCH, _FAILURE, _EFFECTIVE = "epoch", "failure", "effective"
DIED = Failure("the worker process died (killed, or out of memory)")


def epoch_message(
    epoch: EpochRecord, facts: TrialFacts, peak_memory_mb: float | None, effective: str | None = None
) -> str:
    """Tell of an epoch; `effective` is the text of effective.yaml where the driver cannot see the trial's folder."""
    told = {_EPOCH: epoch.as_json(), "facts": facts.as_json(), "peak_memory_mb": peak_memory_mb}
    return json.dumps(told if effective is None else {**told, _EFFECTIVE: effective})


def failure_message(failure: Failure) -> str:
    """Tell why the trial is about to fail."""
    return json.dumps({_FAILURE: failure.as_json()})


class Session(Protocol):
    """Proposes jobs and is told what becomes of them: a search, or its finals."""

    def propose(self) -> Job | None:
        """Give the next job; None if there are no more."""

    def on_epoch(self, number: int, epoch: EpochRecord, facts: TrialFacts, peak_memory_mb: float | None, /) -> bool:
        """Take in an epoch of a job; True if it may go on."""

    def on_end(self, number: int, failure: str | None, /) -> None:
        """Take in that a job has ended, with a failure in one line or without."""


class Elsewhere(Protocol):
    """Told of jobs whose folder the driver cannot see."""

    def on_away(self, folder: Path, effective: str, /) -> None:
        """Take in that a job runs on another machine, and what effective.yaml holds there."""

    def before_end(self, number: int, folder: Path, /) -> None:
        """Bring a job's folder here, if it was away."""


class Bridge:
    """Hands jobs out and takes messages in; `broken` is what ended the search, if anything did."""

    def __init__(self, session: Session, elsewhere: Elsewhere | None = None) -> None:
        self.broken: Exception | None = None
        self._session, self._elsewhere = session, elsewhere
        self._jobs: dict[str, Job] = {}
        self._failures: dict[str, Failure] = {}

    def propose(self, key: str) -> Job | None:
        """Give the next job, known as `key` from now on; None if there are no more."""
        if self.broken:
            return None
        with self._kept():
            job = self._session.propose()
        if job is not None:
            self._jobs[key] = job
        return job

    def on_message(self, key: str, text: str) -> bool:
        """Take in what a job's worker tells; True if it may go on."""
        if self.broken:
            return False
        message = json.loads(text)
        if _FAILURE in message:
            self._failures[key] = Failure(**message[_FAILURE])
            return True
        epoch, facts = EpochRecord.from_json(message[_EPOCH]), TrialFacts(**message["facts"])
        with self._kept():
            if self._elsewhere and _EFFECTIVE in message:
                self._elsewhere.on_away(self._jobs[key].folder, message[_EFFECTIVE])
            return self._session.on_epoch(self._jobs[key].number, epoch, facts, message["peak_memory_mb"])

    def on_end(self, key: str, *, failed: bool) -> None:
        """Take in that a job has ended.

        A trial is not blamed for what would have struck any other in its place: it stays open, and the search ends.
        """
        if self.broken:
            return
        number = self._jobs[key].number
        failure = self._failures.get(key, DIED) if failed else None
        match failure:
            case Failure(reason, "store"):
                self.broken = StoreError(f"trial {number} could not go on: {reason}; see to the disk, then go on")
            case Failure(reason, "data"):
                self.broken = ChangedDataError(reason.removeprefix(f"{ChangedDataError.__name__}: "))
            case _:
                with self._kept():
                    if self._elsewhere:
                        self._elsewhere.before_end(number, self._jobs[key].folder)
                    self._session.on_end(number, failure.reason if failure else None)

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # it goes on up, but may never arrive there
            self.broken = error
            raise
