"""Faults at every write, sync and rename that a process makes below a folder: it is killed there, or the disk fails.

No hook stands in the product: a process under test replaces, before it runs the command line, the few functions of the
standard library through which all files are written. SQLite writes in C, so of study.db the commits are points.

The points are numbered in the order in which they are reached. A fault at `NOWHERE` only lets their names be written
down; as the same search reaches the same points in the same order, each can then be struck in a run of its own.
"""

import builtins
import errno
import io
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import sqlalchemy
from sqlalchemy.engine import Engine

from tests.chaos.power import Disk

FaultKind = Literal["kill", "full", "broken", "power", "power-names"]
"""Killed; no room from here on; one error of the disk; the power cut, and with it the names that were not synced."""
DISK_FAULTS: tuple[FaultKind, ...] = ("full", "broken")
NOWHERE = -1
CAN_FAIL = ("write", "open", "sync", "rename", "mkdir", "symlink", "commit")
_TAKES_ROOM = ("write", "open", "mkdir", "symlink", "commit")
_ERRNO = {"full": errno.ENOSPC, "broken": errno.EIO}
_WRITING = set("wxa+")
_PACKAGE = "/tune_cnn/"


@dataclass(frozen=True)
class Fault:
    """What is to happen at the point `at`, counted from 0."""

    at: int
    kind: FaultKind
    below: Path
    names: Path | None = None
    """Where to write the names of all points, one a line: what, of which file, at which lines of the package."""


class _Real:
    """The functions as they were."""

    open, os_open, write, fsync = io.open, os.open, os.write, os.fsync
    rename, replace, symlink, unlink, mkdir = os.rename, os.replace, os.symlink, os.unlink, os.mkdir


class Points:
    """Counts the points and strikes at one."""

    def __init__(self, fault: Fault) -> None:
        self.disk = Disk(fault.below.resolve())
        self._fault = fault
        self._count = 0

    def watches(self, path: object) -> bool:
        """Whether a path lies below the folder; links on the way are left as they are."""
        if not isinstance(path, str | os.PathLike):
            return False
        return Path(os.path.abspath(path)).is_relative_to(self.disk.below)  # noqa: PTH100  # resolve() follows links

    def reach(self, what: str, path: object) -> None:
        """Go past a point, or fail there.

        Raises:
            OSError: the disk is full or broken.
        """
        number, fault = self._count, self._fault
        self._count += 1
        if fault.names is not None:
            _note(fault.names, f"{what} {path} {_site()}")
        stays_full = fault.kind == "full" and number > fault.at != NOWHERE and what in _TAKES_ROOM
        if number != fault.at and not stays_full:
            return
        if fault.kind in DISK_FAULTS:
            raise _refusal(_ERRNO[fault.kind], what, path)
        if fault.kind != "kill":
            self.disk.lose(names=fault.kind == "power-names")
        os.kill(os.getpid(), signal.SIGKILL)


def _refusal(code: int, what: str, path: object) -> Exception:
    if what == "commit":
        refused = sqlite3.OperationalError("database or disk is full" if code == errno.ENOSPC else "disk I/O error")
        return sqlalchemy.exc.OperationalError("COMMIT", None, refused)
    return OSError(code, os.strerror(code), str(path))


def _site() -> str:
    """Where in the package the process is: every line on the way."""
    lines, frame = [], sys._getframe()
    while frame is not None:
        file = frame.f_code.co_filename
        if _PACKAGE in file:
            lines.append(f"{file.rpartition(_PACKAGE)[2]}:{frame.f_lineno}")
        frame = frame.f_back  # type: ignore[assignment]
    return "<".join(lines)


def _note(file: Path, line: str) -> None:
    handle = _Real.os_open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    _Real.write(handle, f"{line}\n".encode())
    os.close(handle)


class _Watched:
    """A file that is open for writing."""

    def __init__(self, file: IO[Any], path: object, points: Points) -> None:
        self._file, self._path, self._points = file, path, points

    def write(self, data: Any) -> int:
        """Write; where that is to fail, half of it has been written."""
        half = len(data) // 2
        written = self._put(data[:half])
        self._points.reach("write", self._path)
        return written + self._put(data[half:])

    def _put(self, data: Any) -> int:
        written = self._file.write(data)
        self._file.flush()
        self._points.disk.on_write(self._file.fileno())
        return int(written)

    def __enter__(self) -> "_Watched":
        self._file.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.__exit__(*error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class _Functions:
    """What stands in the place of the functions that write."""

    def __init__(self, points: Points) -> None:
        self._points = points
        self._paths: dict[int, str] = {}  # by handle

    def open(self, file: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if not (_WRITING & set(mode) and self._points.watches(file)):
            return _Real.open(file, mode, *rest, **more)
        self._points.reach("open", file)
        return _Watched(_Real.open(file, mode, *rest, **more), file, self._points)

    def os_open(self, path: Any, flags: int, *rest: Any, **more: Any) -> int:
        watched = self._points.watches(path)
        if watched and flags & (os.O_WRONLY | os.O_RDWR):
            self._points.reach("open", path)
        handle = _Real.os_open(path, flags, *rest, **more)
        self._paths.pop(handle, None)  # of a file that was closed
        if watched:
            self._paths[handle] = str(path)
        return handle

    def fsync(self, file: Any) -> None:
        handle = file if isinstance(file, int) else file.fileno()
        if handle in self._paths:
            self._points.reach("sync", self._paths[handle])
        _Real.fsync(handle)
        self._points.disk.on_sync(handle)

    def renaming(self, real: Callable[..., None]) -> Callable[..., None]:
        def watched(source: Any, target: Any, **more: Any) -> None:
            if not self._points.watches(target):
                real(source, target, **more)
                return
            self._points.reach("rename", target)
            self._points.disk.rename(Path(source), Path(target), lambda: real(source, target, **more))

        return watched

    def naming(self, what: str, real: Callable[..., None], place: int) -> Callable[..., None]:
        def watched(*given: Any, **more: Any) -> None:
            if more.get("dir_fd") is None and self._points.watches(given[place]):
                self._points.reach(what, given[place])
            real(*given, **more)

        return watched


def install(fault: Fault) -> None:
    """Put faults in the place of the functions that write, for the rest of this process."""
    points = Points(fault)
    functions = _Functions(points)
    builtins.open = io.open = functions.open
    shutil._USE_CP_SENDFILE = False  # type: ignore[attr-defined]  # else files are copied past `write`
    os.open, os.fsync = functions.os_open, functions.fsync  # type: ignore[assignment]
    os.rename, os.replace = functions.renaming(_Real.rename), functions.renaming(_Real.replace)
    os.symlink = functions.naming("symlink", _Real.symlink, 1)
    os.mkdir, os.unlink = functions.naming("mkdir", _Real.mkdir, 0), functions.naming("unlink", _Real.unlink, 0)
    sqlalchemy.event.listen(Engine, "commit", lambda connection: points.reach("commit", connection.engine.url.database))
