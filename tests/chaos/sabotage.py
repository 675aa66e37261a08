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
    _put("sync", lambda _path: None, files)


def without_rename() -> None:
    """Files are written in place, and so can be seen half-written."""

    def write_in_place(path: Path, data: bytes | str, *, durable: bool = True) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        if durable:
            files.sync(path)

    _put("write_whole", write_in_place, files, checkpoint, run_facts, tables)


def without_digest() -> None:
    """Tensors are taken as they are."""
    _put("read_sound", Path.read_bytes, best_model, checkpoint)


def without_lock() -> None:
    """Any number of drivers work in one folder."""

    @contextmanager
    def unlocked(run: Any, **_more: object) -> Iterator[None]:
        run.path.mkdir(parents=True, exist_ok=True)
        yield

    _put("driver_lock", unlocked, search)


def without_seals() -> None:
    """What stands in study.db is taken as it is."""
    _put("opened", lambda _place, kept: kept["value"], study)


SABOTAGE: dict[str, Callable[[], None]] = {
    "sync": without_sync,
    "rename": without_rename,
    "digest": without_digest,
    "lock": without_lock,
    "seals": without_seals,
}


def _put(name: str, stand_in: Callable[..., Any], *modules: Any) -> None:
    for module in modules:
        if not hasattr(module, name):
            raise AttributeError(f"{module.__name__} has no {name} any more: the sabotage would do nothing")
        setattr(module, name, stand_in)
