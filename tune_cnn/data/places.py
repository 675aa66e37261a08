"""Where images may lie: below the data root, and nowhere else, whatever a list, a table or a link says."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath

from tune_cnn.data.table import shown

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm")
)
# What systems and tools leave behind in folders; names that begin with a dot are ignored as well.
_LITTER = frozenset(("thumbs.db", "desktop.ini", "__macosx"))
_DRIVE = re.compile(r"^[A-Za-z]:")
# With line separators, which would tear messages apart, and the stand-ins for bytes that are no UTF-8. Rare kinds of
# space are fine: macOS puts one into the name of every screenshot.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True)
class Found:
    """A file met on a walk; `linked` if it, or a folder on the way to it, is a symbolic link."""

    path: Path
    linked: bool


def is_image_name(name: str) -> bool:
    """By suffix only; what the file really is shows when it is decoded."""
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def is_litter(name: str) -> bool:
    """Hidden files, thumbnails' databases and the like."""
    return name.startswith(".") or name.lower() in _LITTER


def has_control_characters(name: str) -> bool:
    """Whether a name could not stand in a line of text."""
    return _CONTROL.search(name) is not None


def is_file(path: Path) -> bool:
    """Whether there is such a file; False for names that no file can have, such as one too long."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Whether there is such a folder; False for names that none can have."""
    try:
        return path.is_dir()
    except OSError:
        return False


def subfolders(folder: Path) -> list[Path]:
    """The folders directly in `folder`, by name, without litter."""
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not is_litter(entry.name))


def nearest(written: str, known: list[str], *, what: str) -> str:
    """The end of a message on a name that does not exist: the nearest one that does, or all (at most twelve)."""
    close = get_close_matches(written, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {shown(close[0])}?"
    if not known:
        return f"there are no {what} at all"
    more = ", ..." if len(known) > 12 else ""
    return f"the {what} there are: {', '.join(shown(name) for name in known[:12])}{more}"


def walk_files(folder: Path, *, without: frozenset[str] = frozenset()) -> Iterator[Found]:
    """All files below `folder` except litter, by name; `without` holds real paths of folders to pass over."""
    yield from _walk(folder, without, linked=folder.is_symlink(), above=())


def _walk(folder: Path, without: frozenset[str], *, linked: bool, above: tuple[str, ...]) -> Iterator[Found]:
    real = os.path.realpath(folder)
    if real in above:  # a link to a folder it lies in
        return
    with os.scandir(folder) as entries:
        here = sorted((entry for entry in entries if not is_litter(entry.name)), key=lambda entry: entry.name)
    for entry in here:
        by_link = linked or entry.is_symlink()
        if entry.is_file():
            yield Found(Path(entry.path), by_link)
        elif entry.is_dir() and os.path.realpath(entry.path) not in without:
            yield from _walk(Path(entry.path), without, linked=by_link, above=(*above, real))


class DataRoot:
    """The folder that no path of a data set may leave."""

    def __init__(self, root: str) -> None:
        self.path = Path(root).absolute()
        self._real = os.path.realpath(self.path)
        self._real_parents: dict[str, str] = {}
        self._names: dict[Path, dict[str, str]] = {}

    def relative(self, path: Path) -> str:
        """The path below the root, with forward slashes."""
        return path.relative_to(self.path).as_posix()

    def holds(self, path: Path) -> bool:
        """Whether the file or folder really lies below the root once every link is followed."""
        parent = str(path.parent)
        if parent not in self._real_parents:
            self._real_parents[parent] = os.path.realpath(parent)
        real = os.path.realpath(path) if path.is_symlink() else f"{self._real_parents[parent]}/{path.name}"
        return real == self._real or real.startswith(self._real.rstrip("/") + "/")

    def fault_in_name(self, written: str) -> str | None:
        """What is wrong with a path as it is written, before looking whether anything is there."""
        if not written:
            return "an empty path; write one relative to the data folder"
        if has_control_characters(written):
            return f"the path {shown(written)} holds control characters; rename the file"
        if written.startswith(("/", "\\")) or _DRIVE.match(written):
            return f"the path {shown(written)} is absolute; write it relative to the data folder"
        if ".." in re.split(r"[/\\]", written):
            return f"the path {shown(written)} leaves its folder by '..'; write it without"
        return None

    def fault_in_file(self, base: Path, written: str) -> str | None:
        """What is wrong with an image named in a data file, or None if it is there and below the root."""
        fault = self.fault_in_name(written)
        if fault is not None:
            return fault
        path = base / written
        if not is_file(path):
            return f"no such image: {shown(written)}{self._hint(base, written)}"
        if not self.holds(path):
            return f"{shown(written)} is a symbolic link out of the data folder; put the image itself there"
        return None

    def _hint(self, base: Path, written: str) -> str:
        if "\\" in written and is_file(base / written.replace("\\", "/")):
            return "; write / instead of \\"
        path = base / written
        names = self._names_in(path.parent)
        other = names.get(path.name.casefold()) or names.get(path.stem.casefold())
        return f"; did you mean {shown(other)}?" if other else ""

    def _names_in(self, folder: Path) -> dict[str, str]:
        """File names of a folder by their caseless name and by their caseless stem; read once per folder."""
        if folder not in self._names:
            names = sorted(entry.name for entry in folder.iterdir()) if is_folder(folder) else []
            by_stem = {Path(name).stem.casefold(): name for name in names}
            self._names[folder] = by_stem | {name.casefold(): name for name in names}
        return self._names[folder]
