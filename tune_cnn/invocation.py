"""How this program was called: commands that are shown can be typed as they stand."""

import os
import shlex
import sys
from pathlib import Path

NAME = "tune-cnn"


def program() -> str:
    """Give the words that a command of this program begins with, quoted for the shell.

    Returns:
        `tune-cnn` if the shell finds it by that name, or if it is called by a program of somebody's own; else what was
        typed, such as `.venv/bin/tune-cnn` or `python -m tune_cnn`.
    """
    called = Path(sys.argv[0])
    if called.parts[-2:] == ("tune_cnn", "__main__.py"):
        return shlex.join(sys.orig_argv[: len(sys.orig_argv) - len(sys.argv) + 1])
    is_ours = called.name == NAME and os.sep in sys.argv[0]
    return shlex.quote(sys.argv[0]) if is_ours and not _is_found_by_name(called) else NAME


def _is_found_by_name(called: Path) -> bool:
    """Whether the shell takes the same file for the program's name."""
    files = (Path(folder, NAME) for folder in os.get_exec_path())
    found = next((file for file in files if os.access(file, os.X_OK)), None)
    return found is not None and called.exists() and found.samefile(called)
