"""Brings a run that lies in a storage to this machine: to be worked on in a folder here, or its tables alone."""

from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from tune_cnn.errors import RunFolderError, StorageError
from tune_cnn.results.display import place
from tune_cnn.results.records import RunFolder
from tune_cnn.search.driver_lock import driver_lock
from tune_cnn.storage.claim import Claim, check_free, is_newest, mark, read_claim
from tune_cnn.storage.pull import fetched, is_table, pull, sweep_parts_of
from tune_cnn.storage.remote import Remote
from tune_cnn.urls import is_url, url_fault

Say = Callable[[str], None]


def working_folder(run: str | Path) -> Path:
    """Give the folder of this machine that a run is worked on in: of an address, one below `runs`.

    Raises:
        StorageError: the address cannot be used.
    """
    if not is_url(run):
        return Path(run).absolute()
    if fault := url_fault(str(run)):
        raise StorageError(f"{run}: {fault}")
    scheme, _, rest = str(run).rstrip("/").partition("://")
    return Path("runs", scheme, *rest.split("/")).absolute()


def brought(run: str | Path, say: Say) -> Path:
    """Give the folder of this machine that a run is worked on in, with all that the storage has of it.

    The folder stays as it is if the storage has heard of no other since: then it is the newest there is.

    Args:
        run: a path, or an address of a storage.
        say: told in a line what is done.

    Raises:
        StorageError: the storage is missing, forbidden or out of reach.
        RunFolderError: another driver is at work on it, or something else lies there.
    """
    folder = working_folder(run)
    if not is_url(run):
        return folder
    remote = Remote(str(run))
    remote.answers()
    claim = read_claim(remote)
    if (claim is None and not _holds_run(remote)) or _is_here(folder, claim):
        return folder
    if claim is not None:
        check_free(remote, claim)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.fetching.lock")):
        claim = read_claim(remote)  # another process may have fetched it meanwhile, and be at work in it
        if not _is_here(folder, claim):
            _fetch(remote, claim, folder, say)
    return folder


def _is_here(folder: Path, claim: Claim | None) -> bool:
    """Whether a folder is all that the storage has of a run."""
    return folder.exists() and (claim is None or is_newest(folder, claim))


def _fetch(remote: Remote, claim: Claim | None, folder: Path, say: Say) -> None:
    """Fetch a run; what lies in its place is put aside, unless a driver is at work in it."""
    if claim is not None:
        check_free(remote, claim)
    sweep_parts_of(folder)
    if folder.exists():
        with driver_lock(RunFolder(folder)):
            aside = _free_name(folder)
            folder.rename(aside)
            RunFolder(aside).driver.unlink()
        say(f"{place(folder)}: the search has gone on elsewhere since; put aside as {aside.name}")
    with fetched(remote, folder) as (part, files):
        mark(part, remote.url, after=claim)  # before it is there: without one it would be put aside as outdated
        try:
            part.rename(folder)
        except OSError as error:
            if not folder.exists():
                raise
            raise RunFolderError(
                f"{folder}: another search has begun in this folder meanwhile; wait for it, or search with --name OTHER"
            ) from error
    say(f"{remote.url}: {len(files)} files fetched into {place(folder)}")


def check_apart(run: str | None, data_root: str | Path) -> None:
    """Make sure that neither of two addresses lies in the other: images would change, or be taken for the run's.

    Raises:
        RunFolderError: one does.
    """
    if run is None or not is_url(data_root):
        return
    first, second = (f"{str(address).rstrip('/')}/" for address in (run, data_root))
    if first.startswith(second) or second.startswith(first):
        raise RunFolderError(f"{run}: must not share a place with the images, {data_root}; write another --out")


def _holds_run(remote: Remote) -> bool:
    """Whether there is a run; False if there is nothing.

    Raises:
        RunFolderError: something else lies there, among which a run would be mixed.
    """
    names = [file.name for file in remote.files()]
    if names and "study.db" not in names:
        raise RunFolderError(
            f"{remote.url}: holds other objects ({names[0]!r} is one of {len(names)}) and no run; write `search` with "
            "--name OTHER, or another --out"
        )
    return bool(names)


def tables_of(run: str, into: Path) -> Path:
    """Fetch what a leaderboard needs of a run in a storage; a path is given back as it is.

    Raises:
        StorageError: the storage is missing, forbidden or out of reach.
        RunFolderError: there is no run.
    """
    if not is_url(run):
        return Path(run)
    remote = Remote(run)
    remote.answers()
    folder = into / run.rstrip("/").rpartition("/")[2]
    pull(remote, folder, is_table)
    if not RunFolder(folder).study.is_file():
        raise RunFolderError(f"{run}: holds no study.db; give a run that `tune-cnn search --out` wrote")
    mark(folder, run.rstrip("/"))  # so that what is said of it names the storage
    return folder


def _free_name(folder: Path) -> Path:
    number = 1
    while (aside := folder.with_name(f"{folder.name}.before-{number}")).exists():
        number += 1
    return aside
