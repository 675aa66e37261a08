"""Epochs on their way into study.db: at once where they come slowly, many together in a rush."""

from collections.abc import Callable
from dataclasses import dataclass

from tune_cnn.results.records import EpochRecord, TrialFacts
from tune_cnn.search.study import Study

_SECONDS_BETWEEN_WRITES = 0.1


@dataclass(frozen=True)
class Told:
    """An epoch that a worker has told of."""

    number: int
    """Of its trial."""
    epoch: EpochRecord
    stop_reason: str
    """Why the trial ends with it; empty if it goes on."""
    facts: TrialFacts | None
    """Those of the trial, with the first epoch."""


class Unwritten:
    """Holds back what need not be written at once, as each write waits for the disk.

    An epoch that a killed driver has not written is told again by the checkpoint of its trial. A decision is not.
    """

    def __init__(self, study: Study, clock: Callable[[], float]) -> None:
        self._study, self._clock = study, clock
        self._told: list[Told] = []
        self._due = 0.0

    def add(self, told: Told) -> None:
        """Take in an epoch, and write all there is if it is time or something was decided.

        Raises:
            StoreError: the study cannot be written.
        """
        self._told.append(told)
        if self._clock() >= self._due or told.stop_reason:
            with self._study.at_once():
                self.write()
            self._due = self._clock() + _SECONDS_BETWEEN_WRITES

    def write(self) -> None:
        """Write all there is, within a block of the study's.

        Raises:
            StoreError: the study cannot be written.
        """
        for told in self._told:
            if told.facts is not None:
                self._study.note(told.number, facts=told.facts.as_json())
            self._study.report(told.number, told.epoch, stop=told.stop_reason)
        self._told.clear()
