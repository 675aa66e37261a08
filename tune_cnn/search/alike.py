"""Notice when trials fail one after the other for the same cause: the space or the machine is at fault, not they."""

import re

from tune_cnn.errors import DivergedError
from tune_cnn.search.retries import LOST, is_lost

EQUAL_FAILURES_IN_A_ROW = 5


class AlikeFailures:
    """Counts failures in a row that have one cause."""

    def __init__(self) -> None:
        self.gave_up = ""
        """The last reason, once five in a row had the same cause; empty otherwise."""
        self._cause, self._times = "", 0

    def count(self, reason: str) -> None:
        """Take in how a trial ended: the reason of its failure, or empty if it did not fail."""
        cause = _cause(reason)
        self._times = self._times + 1 if cause and cause == self._cause else 1
        self._cause = cause
        if cause and self._times >= EQUAL_FAILURES_IN_A_ROW:
            self.gave_up = reason


def _cause(reason: str) -> str:
    """Give what two failures have in common if they have one cause: numbers and addresses may differ.

    In which epochs a trial has lost its workers is chance. Not so for diverged trials: in a wide range of learning
    rates they are part of a sound search, and only those that say the very same are alike.
    """
    if is_lost(reason):
        return LOST
    return reason if reason.startswith(DivergedError.__name__) else re.sub(r"0x[0-9a-f]+|\d+", "#", reason)
