"""The weights in a trial's folder: a best model that can be loaded at any moment, and nothing that nobody needs."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from tune_cnn.files import new_folder, point_to, sweep
from tune_cnn.results.records import TrialFolder

_BEST = ".best-*"


@contextmanager
def new_best(folder: TrialFolder, epoch: int) -> Iterator[Path]:
    """Give a folder for the best model so far; then `best` names it, and only then the one before is deleted.

    Each has a name of its own: an epoch that is trained again after a kill must not begin by deleting what `best`
    names.
    """
    whole = folder.path / f".best-{epoch:05d}-{uuid4().hex[:8]}"
    with new_folder(whole) as part:
        yield part
    point_to(folder.best, whole)
    _delete_unnamed(folder)


def tidy(folder: TrialFolder) -> None:
    """Delete what a kill left: half-written files, and models that `best` does not name. Nobody may be writing."""
    for each in (folder.path, folder.last, *folder.last.glob("fold-*")):
        sweep(each)
    _delete_unnamed(folder)


def delete_checkpoint(folder: TrialFolder) -> None:
    """Delete the state that an ended trial will never go on from, and what else nobody needs.

    A kept model must have been brought up to date: only the state knows of what came after it.
    """
    shutil.rmtree(folder.last, ignore_errors=True)
    tidy(folder)


def delete_weights(folder: TrialFolder) -> None:
    """Delete all weights of an ended trial, and only those."""
    folder.best.unlink(missing_ok=True)
    delete_checkpoint(folder)


def _delete_unnamed(folder: TrialFolder) -> None:
    named = folder.best.resolve() if folder.best.is_symlink() else None
    for model in folder.path.glob(_BEST):
        if model.resolve() != named:
            shutil.rmtree(model, ignore_errors=True)
