"""What commands print to, and where they find what is cached."""

import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tune_cnn.errors import InputError

if TYPE_CHECKING:
    from tune_cnn.data.cache import Cache


def terminal() -> Console:
    """Give the terminal, or a pipe with lines long enough that no table is cut."""
    out = sys.stdout  # held here: a trial sends what is printed later to its log
    console = Console(file=out)
    return console if console.is_terminal else Console(file=out, width=160)


def cache_of(chosen: Path | None, limit_gb: float | None = None) -> "Cache":
    """Give the cache in the chosen folder, or in the user's own as XDG has it."""
    from tune_cnn.data.cache import Cache

    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    if limit_gb == math.inf:
        raise InputError("--cache-gb inf: write a number, such as 20; leave it out for half of the free disk")
    return Cache((chosen or base / "tune-cnn").absolute(), limit_gb)
