"""What the trials of a machine share, made once: folders of arrays, named by what they depend on.

    FOLDER/KIND/KEY/entry.json        facts; shape, type, size and digest of each array
    FOLDER/KIND/KEY/NAME.npy          the arrays
    FOLDER/KIND/KEY/files/…           files as they are, in place of arrays (`cache_files.py`)
    FOLDER/KIND/KEY.json              a note: facts alone
    FOLDER/KIND/KEY.lock              held by who makes or removes it
    FOLDER/KIND/.KEY.SIZE.*.part/     being made, or left by a builder that was killed
    FOLDER/cache.lock                 held by who looks for room

An entry appears by a rename and is only read after that. It can be deleted at any time: who has it open keeps it. The
folder must lie on a disk of this machine, whose `flock` says who uses what.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from tune_cnn import progress
from tune_cnn.data.cache_entry import (
    ArraySpec,
    Build,
    Entry,
    FileWriter,
    Writer,
    in_memory,
    open_entry,
    sealed,
    telling,
    unsealed,
)
from tune_cnn.data.cache_files import FILES, open_files, seal_files
from tune_cnn.data.cache_room import put_aside, reserve
from tune_cnn.errors import CacheUnusableError
from tune_cnn.files import sync, write_whole

__all__ = ["ArraySpec", "Build", "Cache", "CacheUnusableError", "Entry", "Writer", "in_memory"]


@dataclass(frozen=True)
class Cache:
    """A folder that all processes of this machine share."""

    folder: Path
    limit_gb: float | None = None
    """What its entries may take, in 10^9 bytes; None: half of what the disk would have free without them."""

    def find(self, kind: str, key: str, specs: Mapping[str, ArraySpec]) -> Entry | None:
        """Open an entry if it is there and sound; see `arrays`. Never makes or removes one."""
        return open_entry(self.folder / kind / key, specs)

    def arrays(self, kind: str, key: str, specs: Mapping[str, ArraySpec], build: Build) -> Entry:
        """Open an entry, making it first if it is missing, damaged or not of these specs.

        Of several processes that ask at once, one makes it and the others wait. For the room, those entries go that
        were not used for longest and that nobody has open.

        Args:
            kind: what sort of entry, a word.
            key: letters and digits that stand for everything the content depends on.
            specs: the arrays, by words.
            build: writes each array's rows in order, all of them, and gives the facts, which JSON can hold. What it
                raises goes on up, and nothing is left.

        Raises:
            CacheUnusableError: the folder cannot be written, the disk is full, or the limit too small; the text says
                which, with the figures. Nothing is left of what was begun.
        """
        place = self.folder / kind / key
        if (entry := open_entry(place, specs)) is not None:
            return entry
        with self._locked(place):
            entry = open_entry(place, specs)  # another process may have made it meanwhile
            return self._made(place, specs, build) if entry is None else entry

    def files(self, kind: str, key: str, size_bytes: int, fill: Callable[[Path], None]) -> Path:
        """Give a folder of files, filling it first if it is missing or damaged; it stays while this process lives.

        Of several processes that ask at once, one fills it and the others wait; see `arrays` for the room.

        Args:
            kind: what sort of files, a word.
            key: letters and digits that stand for everything the content depends on.
            size_bytes: what the files take.
            fill: writes all files into an empty folder. What it raises goes on up, and nothing is left.

        Raises:
            CacheUnusableError: the folder cannot be written, the disk is full, or the limit too small.
        """
        place = self.folder / kind / key
        if (found := open_files(place)) is not None:
            return found
        with self._locked(place):
            found = open_files(place)
            return self._filled(place, size_bytes, fill) if found is None else found

    def find_files(self, kind: str, key: str) -> Path | None:
        """Give a folder of files if it is there and sound; see `files`. Never makes one."""
        return open_files(self.folder / kind / key)

    def note(self, kind: str, key: str, make: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """Give facts that are made once and read ever after; where the folder cannot be written, made every time.

        Args:
            kind: what sort of note, a word.
            key: letters and digits that stand for everything the facts depend on.
            make: gives what JSON can hold; whoever asks meanwhile waits.
        """
        place = self.folder / kind / f"{key}.json"
        if (facts := _read_note(place)) is not None:
            return facts
        with ExitStack() as stack:
            with suppress(CacheUnusableError):
                stack.enter_context(self._locked(self.folder / kind / key))
            if (facts := _read_note(place)) is not None:  # another process may have made it meanwhile
                return facts
            text = json.dumps(make())
            with suppress(OSError):
                write_whole(place, sealed(json.loads(text)))
            return dict(json.loads(text))

    @contextmanager
    def _locked(self, place: Path) -> Iterator[None]:
        """Hold the lock of an entry or note.

        Raises:
            CacheUnusableError: the folder cannot be written.
        """
        with ExitStack() as stack:
            with telling(self.folder):
                place.parent.mkdir(parents=True, exist_ok=True)
                with progress.unmeasured():  # who holds it may take hours, and is watched itself
                    stack.enter_context(FileLock(f"{place}.lock"))
            yield

    def _made(self, place: Path, specs: Mapping[str, ArraySpec], build: Build) -> Entry:
        """Make an entry beside its place, and put it there; the caller holds its lock."""
        with telling(self.folder):
            part = reserve(self.folder, place, sum(spec.size_bytes for spec in specs.values()), self.limit_gb)
        try:
            with FileWriter(self.folder, part, specs) as writer:
                entry = writer.finish(build(writer))  # opened before it has its name: nobody removes what is in use
            with telling(self.folder):
                put_aside(place)
                part.rename(place)
                sync(place.parent)
            return entry
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _filled(self, place: Path, size_bytes: int, fill: Callable[[Path], None]) -> Path:
        """Fill a folder of files beside its place, and put it there; the caller holds its lock."""
        with telling(self.folder):
            part = reserve(self.folder, place, size_bytes, self.limit_gb)
        try:
            with telling(self.folder):
                (part / FILES).mkdir()
                fill(part / FILES)
                seal_files(part)
                put_aside(place)
                part.rename(place)
                sync(place.parent)
            found = open_files(place)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        if found is None:
            raise CacheUnusableError(f"the cache in {self.folder} cannot be used ({place} was removed at once)")
        return found


def _read_note(place: Path) -> dict[str, Any] | None:
    try:
        return unsealed(place.read_bytes())
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return None
