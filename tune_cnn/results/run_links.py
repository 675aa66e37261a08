"""What a run folder of a stranger may hold besides files: links out of it are not followed to write or delete.

Links that tune-cnn makes stay within the folder. Pipes and devices it makes none, and would wait for them.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from tune_cnn.errors import RunFolderError


def refuse_links_out(run: Path) -> None:
    """Make sure that whoever writes below a run folder writes nowhere else: it may come from a stranger.

    Raises:
        RunFolderError: a link in it leads out of it or round in a circle, or there is a pipe or a device in it.
    """
    whole = os.path.realpath(run)
    if faults := [f"{path}: {fault}" for path in _paths(whole) if (fault := _fault(path, whole))]:
        raise RunFolderError(faults)


def _fault(path: Path, whole: str) -> str:
    """Say what is wrong with something in a run folder; empty if nothing is."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:  # another driver is at work, or was just killed: its parts come and go
        return ""
    if stat.S_ISLNK(kind):
        there = os.path.realpath(path)
        if Path(there).is_symlink():
            return "a link that leads round in a circle; put the file itself in its place"
        if not Path(there).is_relative_to(whole):
            return f"a link that leads out of the run folder, to {there}; put the file itself in its place"
    elif not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
        return "a pipe or a device, which no search makes; delete it"
    return ""


def _paths(folder: str) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent, name) for name in (*folders, *files))
