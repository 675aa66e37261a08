"""Watches that a trial gets on. One that hangs, or crashes, leaves the stacks of its threads in its log.

Not from within Python alone: a library that hangs may never let go of the interpreter, so that no thread of ours runs
any more. Then faulthandler's own thread, which needs no interpreter, writes the stacks and ends the process; what it
writes is understood by `last_words.py`.
"""

import faulthandler
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from tune_cnn import progress
from tune_cnn.progress import Patience

_LOOKS = 20
"""Times that are looked at within the shortest silence that counts."""
_LONGEST_PAUSE_SECONDS = 5.0
# What is left to this module's thread to tell before faulthandler ends the process without a word.
_GRACE_SECONDS = 60.0


@contextmanager
def watched(log: Path, patience: Patience, on_hang: Callable[[float], None]) -> Iterator[None]:
    """Watch a trial for as long as the block runs.

    Args:
        log: of the trial; the stacks go to its end.
        patience: how long it may go without a sign of life.
        on_hang: called once, in a thread of its own, with the seconds that it has gone without; is to end the process.
    """
    progress.begin()
    log.parent.mkdir(parents=True, exist_ok=True)
    over = threading.Event()
    with log.open("a", buffering=1) as file, _crashes_told_in(file):
        thread = threading.Thread(target=_watch, args=(over, file, patience, on_hang), daemon=True, name="watchdog")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            faulthandler.cancel_dump_traceback_later()


@contextmanager
def _crashes_told_in(log: TextIO) -> Iterator[None]:
    """Let the stacks of a crash in native code go to a file as well; afterwards they go where they went before."""
    was_enabled = faulthandler.is_enabled()
    faulthandler.enable(log)
    try:
        yield
    finally:  # before the file is closed: its number may be another file's by then
        faulthandler.disable()
        if was_enabled and sys.__stderr__ is not None:
            faulthandler.enable(sys.__stderr__)


def _watch(over: threading.Event, log: TextIO, patience: Patience, on_hang: Callable[[float], None]) -> None:
    pause = min(_LONGEST_PAUSE_SECONDS, patience.least_seconds / _LOOKS)
    while not over.wait(pause):
        limit, silent = progress.limit_seconds(patience), progress.silent_seconds()
        if silent > limit:
            _write_stacks(log, silent)
            on_hang(silent)
            return
        _arm(limit - silent, log)


def _arm(seconds: float, log: TextIO) -> None:
    """Let faulthandler end the process if this thread does not come to see to it again."""
    if seconds < threading.TIMEOUT_MAX - _GRACE_SECONDS:
        faulthandler.dump_traceback_later(seconds + _GRACE_SECONDS, exit=True, file=log)
    else:
        faulthandler.cancel_dump_traceback_later()


def _write_stacks(log: TextIO, silent: float) -> None:
    when = time.strftime("%Y-%m-%d %H:%M:%S")
    log.write(f"{when} ERROR no progress for {silent:.0f} s; where each thread stands, the latest call first:\n")
    faulthandler.dump_traceback(log, all_threads=True)
