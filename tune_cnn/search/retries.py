"""Which trials are tried again: those whose worker was lost, or that hung. What went wrong within a trial would again.

A driver that goes on with a search counts on from the one before: else a trial that takes its driver down with it would
be tried for ever.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from tune_cnn.results.failures import Blame, Failure

MOST: dict[Blame, int] = {"worker": 3, "outage": 3, "hang": 1}
"""How often a trial is tried again, by what happened to it: all told, but with its machine in one epoch.

Machines that are rented cheaply are taken away as a matter of course, which says nothing of a trial that gets on.
"""
LOST = "lost its worker"
KILLED = "killed, or out of memory"
MEMORY_RAN_OUT = "memory ran out on its machine"
_LESS_MEMORY = (
    "write a smaller training.batch_size or image.px, or run fewer trials at a time (--concurrent, --cpus-per-trial)"
)


@dataclass(frozen=True)
class Loss:
    """What a trial was interrupted by, and in which epoch."""

    failure: Failure
    epoch: int

    def as_json(self) -> dict[str, Any]:
        """Give plain data that `from_json` reads back."""
        return {"failure": self.failure.as_json(), "epoch": self.epoch}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """Read what `as_json` gave."""
        return cls(Failure(**kept["failure"]), int(kept["epoch"]))


class Retries:
    """Counts what trials were interrupted by."""

    def __init__(self) -> None:
        self._losses: dict[int, list[Loss]] = {}

    def take_up(self, number: int, losses: Sequence[Loss]) -> None:
        """Take in what a trial was interrupted by under earlier drivers."""
        self._losses[number] = list(losses)

    def losses(self, number: int) -> Sequence[Loss]:
        """Give all that a running trial was interrupted by, the latest last; empty if it was not."""
        return tuple(self._losses.get(number, ()))

    def again(self, number: int, failure: Failure, epoch: int) -> str | None:
        """Say that a trial goes on, and why it was interrupted; None if it is not tried again.

        Args:
            number: of the trial.
            failure: what it was interrupted by.
            epoch: in which.
        """
        if failure.blame not in MOST:
            return None
        losses = self._losses.setdefault(number, [])
        losses.append(Loss(failure, epoch))
        times = len(_alike(losses))
        if times > MOST[failure.blame]:
            return None
        goes_on = "begins anew" if epoch == 1 else f"goes on from epoch {epoch}"
        return f"{_told(failure)}, {goes_on} ({times} of {MOST[failure.blame]})"

    def reason(self, number: int, failure: Failure) -> Failure:
        """Say why a trial has failed for good, after `again` has said None."""
        losses = self._losses.pop(number, [])
        if failure.blame not in MOST or not losses:
            return failure
        losses = _alike(losses)
        if failure.blame == "hang":
            return Failure(f"hung: {failure.reason} in epoch {losses[-1].epoch}; stack in trial.log", failure.blame)
        return Failure(_reason_of(losses), failure.blame)

    def forget(self, number: int) -> None:
        """Take in that a trial has ended."""
        self._losses.pop(number, None)


def is_lost(reason: str) -> bool:
    """Whether a failed trial's reason says that it lost its workers."""
    return reason.startswith(LOST)


def _told(failure: Failure) -> str:
    return f"hung ({failure.reason}; stack in trial.log)" if failure.blame == "hang" else f"{LOST} ({failure.reason})"


def _reason_of(losses: Sequence[Loss]) -> str:
    """Name the epochs and causes; a worker that always dies at one place does not die by chance."""
    epochs = sorted({loss.epoch for loss in losses})
    causes = [cause for cause, _ in Counter(loss.failure.reason for loss in losses).most_common()]
    where = f"always in epoch {epochs[0]}" if len(epochs) == 1 else f"in epochs {', '.join(map(str, epochs))}"
    text = f"{LOST} {len(losses)} times, {where} ({', '.join(causes)})"
    if MEMORY_RAN_OUT in causes:
        return f"{text}; {_LESS_MEMORY}"
    if len(epochs) == 1 and KILLED in causes:
        return f"{text}; most likely memory ran out there: {_LESS_MEMORY}"
    return text


def _alike(losses: Sequence[Loss]) -> list[Loss]:
    """Give the losses that are counted with the last one."""
    last = losses[-1]
    alike = [loss for loss in losses if loss.failure.blame == last.failure.blame]
    return [loss for loss in alike if loss.epoch == last.epoch] if last.failure.blame == "outage" else alike
