"""SIGINT and SIGTERM: the command ends in order, and where order takes too long, without it.

What is on disk is whole at any moment, so nothing is lost by leaving at once; in order means that workers are told and
scratch files deleted.
"""

import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tune_cnn.invocation import program
from tune_cnn.masking import masked

_SECONDS_IN_ORDER = 8.0
"""Of the ten that a command may take to end."""
_SECONDS_OF_ONE = 1.0
"""Some starters hand on a Ctrl-C that the terminal has given to all: what follows so soon is the same one again."""
INTERRUPTED = "interrupted; "
"""What a farewell begins with."""


class Interrupts:
    """Turns the first signal into a KeyboardInterrupt, and leaves at the second or when time is up."""

    def __init__(self) -> None:
        self.exit_code = 0
        """Of the command: 128 and the number of the signal; 0 before one has come."""
        self.farewell: Callable[[], str] = str
        """Gives what is said last where order takes too long; nothing by default."""
        self._came = 0.0
        self._swallowed = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Answer signals within the block. A command that was started deaf to Ctrl-C, in the background, stays so."""
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.getsignal(number) for number in numbers}
        hook_before, sys.unraisablehook = sys.unraisablehook, self._unraisable
        for number in numbers:
            if before[number] is not signal.SIG_IGN:
                signal.signal(number, self._end)
        try:
            yield
        finally:
            sys.unraisablehook = hook_before
            for number in numbers if not self.exit_code else ():  # else the process is about to end, and is to do so
                signal.signal(number, before[number])

    def _end(self, number: int, _frame: object) -> None:
        now = time.monotonic()
        if self._swallowed:
            self._swallowed = False
            raise KeyboardInterrupt
        if self.exit_code:
            if now - self._came > _SECONDS_OF_ONE:
                self.leave()
            return
        self.exit_code, self._came = 128 + number, now
        late = threading.Timer(_SECONDS_IN_ORDER, self.leave)
        late.daemon = True
        late.start()
        raise KeyboardInterrupt

    def _unraisable(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """Interrupt once more where an object that was just thrown away has swallowed it, and say nothing."""
        if not (self.exit_code and unraisable.exc_type is KeyboardInterrupt):
            sys.__unraisablehook__(unraisable)
            return
        self._swallowed = True
        again = threading.Timer(0.01, os.kill, (os.getpid(), self.exit_code - 128))
        again.daemon = True
        again.start()

    def leave(self) -> None:
        """Say farewell and end the process here and now, whatever it waits for."""
        try:
            if text := self.farewell():
                os.write(2, f"{text}\n".encode(errors="replace"))  # a stream may be held by whom we interrupt
        finally:
            os._exit(self.exit_code or 128 + signal.SIGINT)


interrupts = Interrupts()


def typed_command() -> str:
    """Give this call as one may type it again, without its secrets."""
    return masked(" ".join([program(), *map(shlex.quote, sys.argv[1:])]))


def go_on_with(command: str) -> str:
    """Say what an interrupted call says last."""
    return f"{INTERRUPTED}go on with: {command}"
