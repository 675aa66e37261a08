"""Tells when Ray's head is lost: Ray waits for it in silence, then ends the process in words of its own.

On this machine too: someone's `ray stop` ends every Ray on it.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SECONDS_TO_CONNECT = 5.0


@contextmanager
def head_watched(
    address: str, say: Callable[[str], None], *, seconds_between: float = 5.0, silent_seconds: float = 20.0
) -> Iterator[None]:
    """Look after the head while the block runs, in a thread: the driver may be stuck in Ray by then.

    Args:
        address: `HOST:PORT` at which it answered.
        say: told in a line when it has not answered for long, and when it does again.
        seconds_between: of two looks.
        silent_seconds: that are long; less than the 60 after which Ray gives up.
    """
    over = threading.Event()
    watch = (over, address, say, seconds_between, silent_seconds)
    thread = threading.Thread(target=_watch, args=watch, daemon=True, name="head-watch")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _watch(
    over: threading.Event, address: str, say: Callable[[str], None], seconds_between: float, silent_seconds: float
) -> None:
    heard, told = time.monotonic(), False
    while not over.wait(seconds_between):
        if _answers(address):
            heard = time.monotonic()
            if told:
                say(f"Ray answers again at {address}")
            told = False
        elif not told and time.monotonic() - heard >= silent_seconds:
            told = True
            say(
                f"Ray no longer answers at {address}, where its head is; unless it is back within a minute, Ray "
                "ends this process: nothing that was finished is lost"
            )


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS_TO_CONNECT).close()
    except OSError:
        return False
    return True
