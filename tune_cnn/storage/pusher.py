"""Sends a run to its storage from the background, while the search goes on; what is lost on the way is sent again."""

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from tune_cnn.errors import RunFolderError, StorageError
from tune_cnn.storage.mirror import Mirror

SECONDS_BETWEEN = 5.0
_SECONDS_BETWEEN_BEATS = 5.0
_LONGEST_WAIT_SECONDS = 60.0
_SHORTEST_WAIT_SECONDS = 1.0
_FAILURES = (StorageError, OSError, sqlite3.Error)


class Pusher:
    """A thread that lets a mirror send, round after round."""

    def __init__(
        self,
        mirror: Mirror,
        *,
        beat: Callable[[], None],
        say: Callable[[str], None],
        seconds_between: float = SECONDS_BETWEEN,
    ) -> None:
        """Make a thread that has not begun.

        Args:
            mirror: what sends.
            beat: called before every round, and every few seconds besides, as a round may take long; may raise
                RunFolderError, and nothing is sent any more.
            say: told in a line when the storage is lost, and when it is back.
            seconds_between: of two rounds.
        """
        self._mirror, self._beat, self._say, self._seconds = mirror, beat, say, seconds_between
        self._asked: deque[Callable[[Mirror], None]] = deque()
        self._closing = threading.Event()
        self._wake = threading.Event()
        self._lost = ""
        """Why the last round failed; empty while all is well."""
        self.broken: Exception | None = None
        """What ended the thread before its time: the run is another driver's, or an error of the program."""
        self._thread = threading.Thread(target=self._run, name="storage", daemon=True)
        self._over = threading.Event()
        self._heart = threading.Thread(target=self._beat_on, name="storage, signs of life", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()
        self._heart.start()

    def ask(self, change: Callable[[Mirror], None], *, soon: bool = False) -> None:
        """Let the mirror be changed before its next round: it belongs to the thread.

        Args:
            change: tried again, with all that were asked for after it, where it finds the storage lost.
            soon: whether somebody waits for it, so that the next round is not waited for.
        """
        self._asked.append(change)
        if soon:
            self._wake.set()

    def close(self, *, seconds: float, hurried: bool = False) -> str:
        """End, and send what is left.

        Args:
            seconds: for how long to try again, if the storage is lost.
            hurried: whether to leave behind what is still on its way then; if not, it is waited for.

        Returns:
            Why not all has arrived, in a line; empty if it has.

        Raises:
            RunFolderError: the run is another driver's by now.
        """
        try:
            return self._close(seconds, hurried=hurried)
        finally:
            self._over.set()

    def _close(self, seconds: float, *, hurried: bool) -> str:
        until = time.monotonic() + seconds
        self._closing.set()
        self._wake.set()
        if hurried and self._lost:
            return self._lost
        self._thread.join(seconds if hurried else None)  # storages end what hangs by themselves
        if self._thread.is_alive():
            return f"the last files were still on their way after {seconds:.0f} seconds"
        if self.broken is not None:
            raise self.broken
        last = _Last(self._mirror, self._asked, self._beat, until)
        last.start()
        last.join(max(0.1, until - time.monotonic()) if hurried else None)
        if last.broken is not None:
            raise last.broken
        return f"the last files were still on their way after {seconds:.0f} seconds" if last.is_alive() else last.why

    def _beat_on(self) -> None:
        while not self._over.wait(_SECONDS_BETWEEN_BEATS):
            with suppress(StorageError):  # the next round tells
                try:
                    self._beat()
                except RunFolderError as error:
                    self.broken = error
                    return

    def _run(self) -> None:
        wait = 0.0
        try:
            while not self._closing.is_set():
                wait = self._round(wait)
                self._wake.wait(wait)
                self._wake.clear()
        except RunFolderError as error:
            self.broken = error
        except Exception as error:  # told where the search ends
            self.broken = error
            raise

    def _round(self, waited: float) -> float:
        """Send once, and say for how many seconds to wait until the next time."""
        try:
            self._beat()  # first: after a long silence the run may be another driver's
            _change(self._mirror, self._asked)
            self._mirror.send()
        except _FAILURES as error:
            if not self._lost:
                self._say(
                    f"{_first_line(error)} (kept in {self._mirror.folder} meanwhile, and sent as soon as it can be)"
                )
                waited = _SHORTEST_WAIT_SECONDS / 2
            self._lost = _first_line(error)
            return min(_LONGEST_WAIT_SECONDS, max(_SHORTEST_WAIT_SECONDS, 2 * waited))
        if self._lost:
            self._lost = ""
            self._say(f"{self._mirror.remote.url} answers again: everything has been sent")
        return self._seconds


class _Last(threading.Thread):
    """The last round, again and again until all has arrived or the time is over."""

    def __init__(
        self, mirror: Mirror, asked: deque[Callable[[Mirror], None]], beat: Callable[[], None], until: float
    ) -> None:
        super().__init__(name="storage, the last round", daemon=True)
        self._mirror, self._asked, self._beat, self._until = mirror, asked, beat, until
        self.why = "nothing was sent"
        self.broken: RunFolderError | None = None

    def run(self) -> None:
        wait = _SHORTEST_WAIT_SECONDS
        while True:
            try:
                self._beat()
                _change(self._mirror, self._asked)
                self._mirror.send(last=True)
            except RunFolderError as error:
                self.broken = error
                return
            except _FAILURES as error:
                self.why = _first_line(error)
                if time.monotonic() + wait > self._until:
                    return
                time.sleep(wait)
                wait *= 2
            else:
                self.why = ""
                return


def _change(mirror: Mirror, asked: deque[Callable[[Mirror], None]]) -> None:
    while asked:
        asked[0](mirror)  # may find the storage lost: then it is asked again
        asked.popleft()


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
