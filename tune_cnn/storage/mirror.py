"""Brings a folder of results to a storage, round by round: what is new is written there, what is gone is deleted.

    NAME/…                        files under their own names
    NAME/…/last/state.json        written after the tensors that it names by their digests, before others are deleted
    NAME/…/.best-EPOCH-…/…        a trial's best model; never changes
    NAME/…/best.json              what `best` names, with the digests of its files; written after them
    NAME/best/…                   the best model once more, for people, when all is over

So at any moment a reader finds whole checkpoints and whole models, or those from before. A folder that cannot be
brought there now is simply brought later: nothing is forgotten that has not arrived.
"""

import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from tune_cnn.files import parse_json
from tune_cnn.results.best_model import BEST, CARD, STATE
from tune_cnn.storage.remote import Remote, RemoteFile, side_by_side

POINTER = ".json"
"""What is added to a link's name for the object that stands for it."""
SECONDS_BETWEEN_STUDIES = 60.0
SECONDS_BETWEEN_STATES = 30.0
_ATTEMPTS = 5
_STUDY = "study.db"
Stamp = tuple[int, int, int]


class Mirror:
    """Knows what of a folder lies in a storage. One thread at a time."""

    def __init__(
        self,
        folder: Path,
        remote: Remote,
        *,
        every_state: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take up a folder; nothing of it has been sent.

        Args:
            folder: on this machine.
            remote: its counterpart.
            every_state: whether every round sends checkpoints; if not, some seconds lie between two of one training.
            clock: seconds that only go forward.
        """
        self.folder, self.remote, self._every_state, self._clock = folder, remote, every_state, clock
        self._sent: dict[str, Stamp | None] = {}
        """What lies in the storage, by name; None for what may be another content than here."""
        self._elsewhere: set[str] = set()
        """Folders, with a slash at the end, that another machine brings there."""
        self._due: dict[str, float] = {}

    def adopt(self, files: list[RemoteFile]) -> None:
        """Take up what a storage lists: of that, weights that are not here will be deleted there, and nothing else is.

        Files that never change under one name count as sent.
        """
        for file in filter(lambda file: _may_go(file.name), files):
            here = self.folder / file.name
            is_same = _never_changes(file.name) and here.is_file() and here.stat().st_size == file.size_bytes
            self._sent[file.name] = _stamp(here) if is_same else None

    def leave(self, folder: str) -> None:
        """Leave a folder in this one to another machine, until `take_back`."""
        self._elsewhere.add(folder)
        self._sent = {name: stamp for name, stamp in self._sent.items() if not name.startswith(folder)}
        self._due = {name: due for name, due in self._due.items() if not name.startswith(folder)}

    def take_back(self, folder: str, files: list[RemoteFile] | None = None) -> None:
        """Bring a folder there again oneself.

        Args:
            folder: as it was given to `leave`.
            files: what lies below it now; None to have it listed.

        Raises:
            StorageError: it cannot be listed; the folder is still left to the other machine.
        """
        there = self.remote.files(folder.rstrip("/")) if files is None else files
        self._elsewhere.discard(folder)
        self.adopt(there)

    def send(self, *, last: bool = False) -> None:
        """Bring everything there that is new, and delete what is gone.

        Args:
            last: whether everything is over, so that nothing is left for a later round.

        Raises:
            StorageError: the storage did not take it all; the next round tries again.
            OSError: this machine's disk cannot be read.
        """
        wanted = self._send_below("", last=last)
        gone = [name for name in self._sent if name not in wanted and not _is_apart(name)]
        if last or gone or self._is_due(_STUDY):
            self._send_study()
        self._delete(gone)
        if last:
            self._send_copy()

    def send_folder(self, folder: str) -> None:
        """Bring there at once all that is new in one folder, and delete what is gone of it.

        Args:
            folder: in this one, with a slash at the end.

        Raises: as `send` does; then some of it is there.
        """
        wanted = self._send_below(folder, last=True)
        self._delete([name for name in self._sent if name.startswith(folder) and name not in wanted])

    def _send_below(self, folder: str, *, last: bool) -> set[str]:
        """Send what is new below a folder, empty for all, and give the names of all that belongs there."""
        plain, states, links = self._look(folder)
        wanted = set(plain)
        self._send_changed(plain, last=last)
        for state in states:
            wanted |= self._send_state(state, last=last)
        for link in links:
            wanted |= self._send_link(link)
        return wanted

    def _look(self, folder: str) -> tuple[dict[str, Path], list[Path], list[Path]]:
        """Find below a folder plain files by name, the states of checkpoints, and the links to models."""
        plain: dict[str, Path] = {}
        states, links = [], []
        for path in _walk(self.folder / folder):
            name = path.relative_to(self.folder).as_posix()
            if any(name.startswith(left) for left in self._elsewhere):
                continue
            if path.is_symlink():
                links.append(path)
            elif path.name == STATE:
                states.append(path)
            elif path.suffix != ".safetensors" and not path.name.startswith((_STUDY, "state-")):  # one from before
                plain[name] = path
        return plain, states, sorted(links, key=lambda link: -len(link.parts))  # models before what names the best one

    def _send_changed(self, files: dict[str, Path], *, last: bool) -> None:
        side_by_side(lambda name: self._send_file(name, files[name]), self._changed(files, last=last))

    def _changed(self, files: dict[str, Path], *, last: bool) -> list[str]:
        """Name the files that are to be sent now; a log, which changes all the time, is not in every round."""
        found = []
        for name, path in files.items():
            with suppress(FileNotFoundError):
                if self._sent.get(name) != _stamp(path) and (last or path.suffix != ".log" or self._is_due(name)):
                    self._due[name] = self._clock() + (0 if self._every_state else SECONDS_BETWEEN_STATES)
                    found.append(name)
        return found

    def _send_file(self, name: str, path: Path) -> None:
        with suppress(FileNotFoundError):  # it has just been replaced or deleted: the next round sees
            stamp = _stamp(path)
            if self._sent.get(name) != stamp:
                self.remote.put(name, path)
                self._sent[name] = stamp

    def _send_state(self, state: Path, *, last: bool) -> set[str]:
        """Send a checkpoint, and give the names of what it consists of in the storage now."""
        prefix = state.parent.relative_to(self.folder).as_posix() + "/"
        before = {name for name in self._sent if name.startswith(prefix) and "/" not in name.removeprefix(prefix)}
        if not (last or self._every_state or self._is_due(prefix)):
            return before
        with _snapshot(state, self.folder) as parts:
            if parts is None:
                return before
            for part in parts:
                if part.name != STATE and f"{prefix}{part.name}" not in self._sent:
                    self._send_file(f"{prefix}{part.name}", part)
            self._send_file(prefix + STATE, next(part for part in parts if part.name == STATE))
            self._due[prefix] = self._clock() + SECONDS_BETWEEN_STATES
            return {f"{prefix}{part.name}" for part in parts}

    def _send_link(self, link: Path) -> set[str]:
        """Send what a link names, and then an object that stands for it; give all their names."""
        pointer = link.relative_to(self.folder).as_posix() + POINTER
        start = (link.parent.relative_to(self.folder) / ".best-").as_posix()
        before = {name for name in self._sent if name == pointer or name.startswith(start)}
        try:
            target = link.readlink()
            model = link.parent / target
            files = {} if len(target.parts) > 1 else {path.name: path for path in sorted(model.iterdir())}
            named = {(model.relative_to(self.folder) / name).as_posix(): path for name, path in files.items()}
            for name, path in named.items():
                if self._sent.get(name) is None:
                    self.remote.put(name, path)
                    self._sent[name] = _stamp(path)
            self._send_pointer(pointer, target, files, link)
        except FileNotFoundError:  # it has just been moved on: the next round sees
            return before | {name for name in self._sent if name.startswith(start)}
        return {*named, pointer}

    def _send_pointer(self, pointer: str, target: Path, files: dict[str, Path], link: Path) -> None:
        status = link.lstat()
        stamp = (status.st_size, status.st_mtime_ns, status.st_ino)
        if self._sent.get(pointer) == stamp:
            return
        body = {"folder": target.as_posix(), "files": {name: _sha256(path) for name, path in files.items()}}
        self.remote.write(pointer, json.dumps(body, indent=2).encode() + b"\n")
        self._sent[pointer] = stamp

    def _send_study(self) -> None:
        """Send a copy of the study as it is at one moment: the file itself may be in the middle of a write."""
        study = self.folder / _STUDY
        if not study.is_file():
            return
        with tempfile.TemporaryDirectory(prefix=".study.", suffix=".part", dir=self.folder) as part:
            copy = Path(part) / _STUDY
            with closing(sqlite3.connect(study)) as source, closing(sqlite3.connect(copy)) as made:
                source.backup(made)
            self.remote.put(_STUDY, copy)
        self._due[_STUDY] = self._clock() + SECONDS_BETWEEN_STUDIES

    def _delete(self, names: list[str]) -> None:
        for name in sorted(names, key=lambda name: not name.endswith((POINTER, STATE))):  # what names the others first
            self.remote.delete(name)
            self._sent.pop(name, None)

    def _send_copy(self) -> None:
        best = self.folder / BEST
        if not best.is_dir():
            return
        files = sorted(best.iterdir(), key=lambda path: path.name == CARD)  # the card has the weights' digest
        for path in files:
            self.remote.put(f"{BEST}/{path.name}", path)

    def _is_due(self, what: str) -> bool:
        return self._clock() >= self._due.get(what, 0.0)


def _walk(folder: Path) -> Iterator[Path]:
    """Give all files and links that are meant for others, without what is half-written; models come by their links."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path))
            elif entry.is_file(follow_symlinks=False) or entry.is_symlink():
                yield Path(entry.path)


@contextmanager
def _snapshot(state: Path, folder: Path) -> Iterator[list[Path] | None]:
    """Give a checkpoint's files as they are at one moment, linked; None if it is gone, or changes too fast."""
    part = Path(tempfile.mkdtemp(prefix=".sending.", suffix=".part", dir=folder))
    try:
        yield next((found for _ in range(_ATTEMPTS) if (found := _linked(state, part))), None)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _linked(state: Path, part: Path) -> list[Path]:
    """Link a checkpoint's files into a folder, none if one went meanwhile; they are replaced, never changed."""
    for old in part.iterdir():
        old.unlink()
    try:
        _link(state, part / STATE)
        body = parse_json((part / STATE).read_bytes())
        names = {body["tensors"], *([body[BEST]["tensors"]] if body[BEST] else [])}
        for name in names:
            _link(state.parent / Path(name).name, part / Path(name).name)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return []
    return sorted(part.iterdir())


def _link(file: Path, further: Path) -> None:
    try:
        os.link(file, further)
    except FileNotFoundError:
        raise
    except OSError:  # a disk without such links
        shutil.copyfile(file, further)


def _never_changes(name: str) -> bool:
    return name.endswith(".safetensors") or "/.best-" in name


def _may_go(name: str) -> bool:
    """Whether an object is of those that runs come to delete: weights, and what is told of a failure overcome."""
    *folders, last = name.split("/")
    return last in {f"{BEST}{POINTER}", "error.txt"} or any(
        part in {"last", BEST} or part.startswith(".best-") for part in folders
    )


def _is_apart(name: str) -> bool:
    """Whether an object has no file here that it would be a copy of."""
    return name == _STUDY or name.startswith(f"{BEST}/")


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    return (status.st_size, status.st_mtime_ns, status.st_ino)


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
