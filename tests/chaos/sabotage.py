"""Safeguards taken away, to see that the suite notices: each a process that runs without one of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tune_cnn import files
from tune_cnn.results import best_model, tables
from tune_cnn.search import run_facts, search, study
from tune_cnn.training import checkpoint


def without_sync() -> None:
    """Nothing is ever synced."""
    files.sync = lambda _path: None


def without_rename() -> None:
    """Files are written in place, and so can be seen half-written."""

    def write_in_place(path: Path, data: bytes | str, *, durable: bool = True) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        if durable:
            files.sync(path)

    for module in (files, checkpoint, run_facts, tables):
        module.write_whole = write_in_place  # type: ignore[attr-defined]


def without_digest() -> None:
    """Tensors are taken as they are."""
    checkpoint.read_sound = best_model.read_sound = Path.read_bytes  # type: ignore[attr-defined]


def without_lock() -> None:
    """Any number of drivers work in one folder."""

    @contextmanager
    def unlocked(run: Any, **_more: object) -> Iterator[None]:
        run.path.mkdir(parents=True, exist_ok=True)
        yield

    search.driver_lock = unlocked  # type: ignore[assignment]


def without_seals() -> None:
    """What stands in study.db is taken as it is."""
    study.opened = lambda _place, kept: kept["value"]  # type: ignore[attr-defined]


SABOTAGE: dict[str, Callable[[], None]] = {
    "sync": without_sync,
    "rename": without_rename,
    "digest": without_digest,
    "lock": without_lock,
    "seals": without_seals,
}
