"""Links in a run folder: those that tune-cnn makes stay within it, and others are not followed to write or delete."""

import os
from pathlib import Path

from tune_cnn.errors import RunFolderError


def refuse_links_out(run: Path) -> None:
    """Make sure that whoever writes below a run folder writes nowhere else: it may come from a stranger.

    Raises:
        RunFolderError: a link in it leads out of it.
    """
    whole = run.resolve()
    faults = [
        f"{link}: a link that leads out of the run folder, to {link.resolve()}; put the file itself in its place"
        for link in _links(whole)
        if not link.resolve().is_relative_to(whole)
    ]
    if faults:
        raise RunFolderError(faults)


def _links(folder: Path) -> list[Path]:
    return [
        path
        for parent, folders, files in os.walk(folder)
        for path in (Path(parent, name) for name in (*folders, *files))
        if path.is_symlink()
    ]
