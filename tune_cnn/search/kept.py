"""A run that is kept in a storage: worked on in a folder of this machine, from where all of it goes there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tune_cnn.errors import StorageError, StoreError
from tune_cnn.files import sweep
from tune_cnn.invocation import program
from tune_cnn.results.display import place, word
from tune_cnn.results.records import RunFolder
from tune_cnn.search.left_elsewhere import bring_missing_trials, is_ours
from tune_cnn.search.trials_away import Kept
from tune_cnn.storage.claim import HeldRemote, Hold, mark
from tune_cnn.storage.mirror import Mirror
from tune_cnn.storage.pusher import SECONDS_BETWEEN, Pusher
from tune_cnn.storage.remote import Remote

Say = Callable[[str], None]
_LAST_SECONDS = 30.0
_LAST_SECONDS_INTERRUPTED = 3.0
"""Who interrupts a search is promised its end within ten seconds."""


@contextmanager
def kept_in_storage(
    run: RunFolder, url: str | None, say: Say, *, seconds_between: float = SECONDS_BETWEEN
) -> Iterator[Kept | None]:
    """Send a run to its storage for as long as the block lasts, and what is left at its end.

    Args:
        run: the folder that is worked on; it is this driver's alone.
        url: of its counterpart; None for a run that stays where it is.
        say: told in a line when the storage is lost, and when it is back.
        seconds_between: of two rounds.

    Raises:
        StorageError: the storage cannot be written; nothing was begun.
        RunFolderError: another driver has taken the run.
        StoreError: at the end it is lost, and some of the run lies on this machine alone.
    """
    if url is None:
        yield None
        return
    remote = Remote(url)
    run.path.mkdir(parents=True, exist_ok=True)
    for folder in (run.path, run.path / "trials", run.path / "finals"):  # in the last two: fetches that were killed
        sweep(folder)
    mark(run.path, remote.url)
    hold = Hold.take(remote, run.path)
    mirror = Mirror(run.path, HeldRemote(hold))
    files = remote.files()
    bring_missing_trials(run, remote, files)
    mirror.adopt([file for file in files if is_ours(run, file.name)])
    pusher = Pusher(mirror, beat=hold, say=say, seconds_between=seconds_between)
    pusher.start()
    seconds, over = _LAST_SECONDS, False
    try:
        yield Kept(run, remote, pusher, say)
        over = True
    except KeyboardInterrupt:
        seconds = _LAST_SECONDS_INTERRUPTED
        raise
    finally:
        left = _finish(run, hold, pusher, seconds)
        if left and not over:  # what ended the search is told after it
            say(left)
    if left:
        raise StoreError(left)


def _finish(run: RunFolder, hold: Hold, pusher: Pusher, seconds: float) -> str:
    """Send what is left, and say in a line if not all has arrived."""
    why = pusher.close(seconds=seconds, hurried=seconds == _LAST_SECONDS_INTERRUPTED)
    if not why:
        try:
            hold.end()
        except StorageError as error:
            why = str(error)
    if not why:
        return ""
    return (
        f"{hold.remote.url} does not have all of this run: {why}; all of it lies in {place(run.path)} on this machine: "
        f"`{program()} resume {word(hold.remote.url)}`, called here, sends it"
    )
