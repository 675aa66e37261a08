"""One driver per run folder: a lock that the system keeps, and a note beside it of who holds it.

The system's lock ends with its process, however that ends: within one machine, containers included, it is the truth.
Who holds it, it does not say, and on a network file system it may hold for each machine by itself. Hence the note:
host, process, when that was started, which boot of the machine. When it last changed is the last sign of life.
"""

import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from tune_cnn.errors import RunFolderError
from tune_cnn.files import MOST_JSON_BYTES, read_file, write_whole
from tune_cnn.results.display import place, word
from tune_cnn.results.records import RunFolder

_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT)
_SECONDS_BETWEEN_SIGNS = 15.0
_SILENT_SECONDS = 60.0
"""After so long without a sign of life a driver of an earlier boot is believed to be gone."""
_SECONDS_FOR_A_NOTE = 2.0
"""So long after it has the lock a driver may take to say who it is."""


class Holder(BaseModel):
    """The process that works in a run folder, named so that no other is taken for it."""

    model_config = ConfigDict(frozen=True, strict=True)

    host: str
    pid: int
    started: str
    """When the process was started, in the kernel's own count: a number is given to another process some day."""
    boot: str
    """Which boot of which machine; empty where the system does not tell."""
    processes: str
    """Within which numbering of processes; containers have one each."""
    since: str
    """When it took the folder."""

    @classmethod
    def here(cls) -> "Holder":
        """Name this process."""
        pid = os.getpid()
        return cls(
            host=socket.gethostname(),
            pid=pid,
            started=_started(pid) or "",
            boot=_text_of(Path("/proc/sys/kernel/random/boot_id")),
            processes=_numbering(),
            since=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        )

    @property
    def text(self) -> str:
        """Name it to people."""
        return f"process {self.pid} on {self.host}, since {self.since}"

    def shares_the_kernel_of(self, other: "Holder") -> bool:
        """Whether the system's lock of one is seen by the other."""
        return self.boot == other.boot if self.boot and other.boot else self.host == other.host

    def is_alive(self) -> bool:
        """Whether it runs; of a process that this one has no number for, no."""
        return self.processes == _numbering() and _started(self.pid) == self.started


@contextmanager
def driver_lock(run: RunFolder, *, note: Callable[[str], None] = lambda _text: None) -> Iterator[None]:
    """Hold the run folder for this driver alone.

    Args:
        run: the folder, made if it is not there.
        note: told if an earlier driver left the folder without a word.

    Raises:
        RunFolderError: another driver is at work in it, or may be; or nothing can be written there.
    """
    with _locked(run), _signed(run, note):
        yield


@contextmanager
def _locked(run: RunFolder) -> Iterator[None]:
    lock = FileLock(run.lock, timeout=0)
    try:
        run.path.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        found = _awaited(run)
        who = f" ({found.text})" if found else ""
        raise RunFolderError(
            f"{run.path}: another search is at work in this folder{who}; wait for it or end it, or search "
            "with --name OTHER"
        ) from error
    except OSError as error:
        if error.errno not in _NOT_WRITABLE:
            raise
        raise RunFolderError(
            f"{run.path}: cannot be written ({error.strerror}); write --out DIR with a folder that can"
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _signed(run: RunFolder, note: Callable[[str], None]) -> Iterator[None]:
    """Say for the time of the block who is at work."""
    before, here = _read(run), Holder.here()
    if before is not None:
        _check_gone(run, before, here)
        note(f"the driver before ({before.text}) is gone without a word: this one takes its place")
    write_whole(run.driver, here.model_dump_json() + "\n", durable=False)
    over = threading.Event()
    signs = threading.Thread(target=_show_life, args=(run.driver, over), name="signs of life", daemon=True)
    signs.start()
    try:
        yield
    finally:
        over.set()
        run.driver.unlink(missing_ok=True)


def _check_gone(run: RunFolder, before: Holder, here: Holder) -> None:
    """Make sure that a driver which did not say that it ends has ended.

    Raises:
        RunFolderError: it lives, though the file system has given its lock to us too; or nobody can tell from here.
    """
    silent = _silent_seconds(run)
    if before.shares_the_kernel_of(here):
        if not before.is_alive():
            return
        raise RunFolderError(
            f"{run.path}: another search is at work in this folder ({before.text}); wait for it or end it, or search "
            "with --name OTHER"
        )
    if before.host == here.host and silent > _SILENT_SECONDS:
        return  # its machine has been started anew
    raise RunFolderError(
        f"{run.path}: a search on another machine was at work in this folder ({before.text}; last sign of life "
        f"{silent:.0f} s ago); whether it has ended cannot be seen from here: once it has, "
        f"rm {word(place(run.driver))} and call again"
    )


def _show_life(file: Path, over: threading.Event) -> None:
    while not over.wait(_SECONDS_BETWEEN_SIGNS):
        with suppress(OSError):  # a sign that is lost is no reason to end a search
            os.utime(file)


def _silent_seconds(run: RunFolder) -> float:
    """Say how long the last sign of life is past, by the clock of the file system alone."""
    os.utime(run.lock)
    return max(0.0, run.lock.stat().st_mtime - run.driver.stat().st_mtime)


def _read(run: RunFolder) -> Holder | None:
    """Read the note; None if there is none, or one that a power cut has damaged."""
    try:
        return Holder.model_validate_json(read_file(run.driver, most_bytes=MOST_JSON_BYTES))
    except (FileNotFoundError, ValidationError):
        return None


def _awaited(run: RunFolder) -> Holder | None:
    """Wait a little until the driver that has the lock has said who it is; None if it does not."""
    deadline = time.monotonic() + _SECONDS_FOR_A_NOTE
    here = Holder.here()
    while time.monotonic() < deadline:
        found = _read(run)
        if found and (found.is_alive() or not found.shares_the_kernel_of(here) or found.processes != here.processes):
            return found
        time.sleep(0.05)
    return None


def _started(pid: int) -> str | None:
    """Say when a process was started; None if it has ended, even if nobody has asked yet how."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _started_without_proc(pid)
    except (ProcessLookupError, PermissionError):
        return None
    return None if state in ("Z", "X") else rest[18]


def _started_without_proc(pid: int) -> str | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return ""


def _numbering() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _text_of(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
