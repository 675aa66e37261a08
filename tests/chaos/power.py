"""What a power cut would leave of the files below a folder, kept up while a process writes them.

What was written and not synced is cut to half. Of names, those that were given since their folder was last synced may
be as they were before. A real file system may lose less; none that keeps its word to `fsync` loses more, but for new
folders, which are taken to be there: ext4, XFS and Btrfs bring a new file's folders to the disk with the file.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

_rename, _link = os.rename, os.link  # as they are before anybody replaces them
Undo = Callable[[], None]


@dataclass
class Disk:
    """Knows of what is written below a folder and not synced yet."""

    below: Path
    unsynced: set[int] = field(default_factory=set)
    """Files, by inode."""
    _undo: list[tuple[int, Undo]] = field(default_factory=list)
    """How names were before, in their order, by the inode of their folder."""
    _copies: int = 0

    def on_write(self, handle: int) -> None:
        self.unsynced.add(os.fstat(handle).st_ino)

    def on_sync(self, handle: int) -> None:
        inode = os.fstat(handle).st_ino
        self.unsynced.discard(inode)
        self._undo = [(folder, undo) for folder, undo in self._undo if folder != inode]

    def rename(self, source: Path, target: Path, act: Undo) -> None:
        """Let `act` rename, and know how it was before."""
        before = self._copy_of(target)
        act()

        def undo() -> None:
            if os.path.lexists(target) and source.parent.exists():
                _rename(target, source)
                if before is not None:
                    _link(before, target, follow_symlinks=False)

        self._undo.append((target.parent.stat().st_ino, undo))

    def lose(self, *, names: bool) -> None:
        """Let the disk be as after a power cut, with the names that were not synced or without."""
        for _, undo in reversed(self._undo if names else []):
            undo()
        for path in self.below.rglob("*"):
            if path.is_file() and not path.is_symlink() and path.stat().st_ino in self.unsynced:
                os.truncate(path, path.stat().st_size // 2)

    def _copy_of(self, path: Path) -> Path | None:
        """A second name for what is about to be replaced; None where there is nothing."""
        if not os.path.lexists(path) or (path.is_dir() and not path.is_symlink()):
            return None
        self._copies += 1
        copy = self.below.with_name(f"{self.below.name}.before-{self._copies}")
        _link(path, copy, follow_symlinks=False)
        return copy
