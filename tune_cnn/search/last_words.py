"""What a worker that died left in its trial's log: its watchdog writes there, and faulthandler, see `watchdog.py`."""

import re
from pathlib import Path

from tune_cnn.results.failures import Failure

_MOST_BYTES = 1 << 20
_CRASHED = re.compile(rb"^Fatal Python error: (.+)$", re.MULTILINE)
_SILENT = re.compile(rb"ERROR no progress for (\d+) s; where each thread stands")
_STUCK = re.compile(rb"^Timeout \(\d+:\d\d:\d\d(?:\.\d+)?\)!$", re.MULTILINE)


class LastWords:
    """The part of a trial's log that one worker writes."""

    def __init__(self, log: Path, note: str = "") -> None:
        """Take in that a worker is about to begin.

        Args:
            log: may not be there yet, or may be brought from another machine with what an earlier worker wrote.
            note: what the worker writes first; empty if it writes none.
        """
        self._log, self._begin, self._note = log, _size(log), note.encode()

    def failure(self) -> Failure | None:
        """Say what became of the worker; None where it left no word of it."""
        text = _end(self._log, self._begin)
        if self._note:
            text = text.rpartition(self._note)[2]
        if crashed := _CRASHED.search(text):
            return Failure(f"crashed: {crashed[1].decode(errors='replace')}; stack in trial.log", "worker")
        if silent := _SILENT.search(text):
            return Failure(f"no progress for {int(silent[1])} s", "hang")
        if _STUCK.search(text):
            return Failure("never let go of Python's interpreter", "hang")
        return None


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except OSError:
        return 0


def _end(log: Path, begin: int) -> bytes:
    """Read what was added to a log; nothing where it cannot be read."""
    try:
        with log.open("rb") as file:
            file.seek(max(begin, _size(log) - _MOST_BYTES))
            return file.read()
    except OSError:
        return b""
