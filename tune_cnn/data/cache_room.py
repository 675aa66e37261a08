"""Room in the cache: what its entries take, which may go, and what killed builders left.

Nothing is looked at or removed but what has the form of an entry: the folder may hold other things, such as weights.
"""

import fcntl
import math
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from tune_cnn.data.cache_entry import ENTRY
from tune_cnn.data.cache_files import FILES, told_bytes
from tune_cnn.errors import CacheUnusableError

GB = 10**9
_PART = re.compile(r"\.(?P<key>\w+)\.(?P<bytes>\d+)\..*\.part")


@dataclass(frozen=True)
class _Held:
    place: Path
    size_bytes: int
    used_ns: int


def reserve(cache: Path, place: Path, size_bytes: int, limit_gb: float | None) -> Path:
    """Make room for an entry, and a temporary folder beside its place that counts as so large while it is filled.

    The caller holds the entry's lock, and puts the folder in place or removes it.

    Args:
        cache: the cache's folder.
        place: where the entry will be.
        size_bytes: what its arrays take.
        limit_gb: what the cache may take; see `Cache`.

    Raises:
        CacheUnusableError: there is no room, and not enough that could go.
        OSError: the folder cannot be written.
    """
    with FileLock(cache / "cache.lock"):
        for part in place.parent.glob(f".{place.name}.*.part"):  # whoever made it held the lock that we hold now
            shutil.rmtree(part, ignore_errors=True)
        _make_room(cache, size_bytes, limit_gb)
        return _new_part(place, size_bytes)


def put_aside(place: Path) -> None:
    """Take away what stands in an entry's place; whoever has it mapped keeps it until they let go.

    Raises:
        OSError: the folder cannot be written.
    """
    part = _new_part(place, 0)
    try:
        with suppress(FileNotFoundError):
            place.rename(part / "entry")
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _new_part(place: Path, size_bytes: int) -> Path:
    # The size is a part of the name: so there is no moment at which the folder is there and its size is not.
    part = Path(tempfile.mkdtemp(prefix=f".{place.name}.{size_bytes}.", suffix=".part", dir=place.parent))
    part.chmod(0o755)  # mkdtemp makes private folders; a cache may be shared by a group
    return part


def _make_room(cache: Path, needed: int, limit_gb: float | None) -> None:
    entries = _entries(cache)
    held = sum(entry.size_bytes for entry in entries) + _pledged(cache)
    free = shutil.disk_usage(cache).free
    limit = (held + free) // 2 if limit_gb is None else int(limit_gb * GB)
    short = max(held + needed - limit, needed - free)
    if short <= 0:
        return
    idle = [entry for entry in sorted(entries, key=lambda entry: entry.used_ns) if _is_idle(entry.place)]
    could_go = sum(entry.size_bytes for entry in idle)
    if could_go >= short:  # else nothing is removed in vain
        for entry in idle:
            short -= entry.size_bytes if _removed(entry.place) else 0
            if short <= 0:
                return
    raise CacheUnusableError(
        f"the cache in {cache} cannot be used ({_no_room(needed, held - could_go, held, free, limit_gb)})"
    )


def _no_room(needed: int, in_use: int, held: int, free: int, limit_gb: float | None) -> str:
    if limit_gb is None and needed <= free:
        return (
            f"{_size(needed)} are needed, {_size(in_use)} are in use, and without --cache-gb it takes no more than "
            f"half of the {_size(held + free)} that the disk would have free without it; "
            f"write --cache-gb {_enough(in_use + needed)}, or --cache-dir on another disk"
        )
    if limit_gb is not None and in_use + needed > limit_gb * GB:
        return (
            f"{_size(needed)} are needed, and {_size(in_use)} are in use, but --cache-gb allows "
            f"{_size(limit_gb * GB)}; write --cache-gb {_enough(in_use + needed)}"
        )
    return f"{_size(needed)} are needed, but the disk has {_size(free)} free; write --cache-dir on another disk"


def _size(count: float) -> str:
    return f"{count / GB:.1f} GB" if count >= GB // 10 else f"{count / 10**6:.1f} MB"


def _enough(count: int) -> str:
    return f"{math.ceil(count / GB * 10) / 10:.1f}"


def _entries(cache: Path) -> list[_Held]:
    found = []
    for entry in cache.glob(f"*/*/{ENTRY}"):
        with suppress(OSError):  # it is just being removed
            files = list(entry.parent.iterdir())
            if (entry.parent / FILES).is_dir():
                size_bytes = told_bytes(entry.parent)
            elif _PART.fullmatch(entry.parent.name) or any(one.suffix != ".npy" for one in files if one != entry):
                continue
            else:
                size_bytes = sum(file.stat().st_size for file in files)
            found.append(_Held(entry.parent, size_bytes, entry.parent.stat().st_mtime_ns))
    return found


def _pledged(cache: Path) -> int:
    """Add up what others are making, and remove what builders that were killed have left."""
    pledged = 0
    for part in cache.glob("*/.*.part"):
        name = _PART.fullmatch(part.name)
        if name is None:
            continue
        with _unused(part.with_name(name["key"])) as is_dead:
            if is_dead:
                shutil.rmtree(part, ignore_errors=True)
            else:
                pledged += int(name["bytes"])
    return pledged


def _is_idle(place: Path) -> bool:
    with _unused(place) as unused:
        return unused


def _removed(place: Path) -> bool:
    """Remove an entry and its lock's file, unless someone uses it; say whether it is gone."""
    with _unused(place) as unused:
        if unused:
            put_aside(place)
            _lock_file(place).unlink(missing_ok=True)  # who waits for it sees that it is gone, and begins anew
        return unused


@contextmanager
def _unused(place: Path) -> Iterator[bool]:
    """Say whether nobody makes an entry or has it open, and keep it so."""
    with ExitStack() as stack:
        try:
            stack.enter_context(FileLock(_lock_file(place), blocking=False))
            for path in (*place.glob("*.npy"), *place.glob(ENTRY)):
                fcntl.flock(stack.enter_context(path.open("rb")), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # a lock that is taken is one too
            yield False
        else:
            yield True


def _lock_file(place: Path) -> Path:
    return place.with_name(f"{place.name}.lock")
