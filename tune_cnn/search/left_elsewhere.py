"""Trials that an earlier driver of a run in a storage did not come to fetch: whose copy is the newest?

A mark in the trial's folder, `.away`, tells: there while another machine has the trial, or may have it.

    no mark     the folder here is what is newest: nobody elsewhere has sent anything since it was sent from here
    empty       a worker elsewhere was heard of: the storage has what is newest
    UNHEARD     handed out, when the storage had all that was here; no worker has said yet where it goes on
"""

import re
from collections.abc import Iterable

from tune_cnn.files import write_whole
from tune_cnn.results.best_model import BEST
from tune_cnn.results.records import RunFolder, TrialFolder
from tune_cnn.storage.mirror import POINTER
from tune_cnn.storage.pull import epoch_here, epoch_there, pull
from tune_cnn.storage.remote import Remote, RemoteFile

UNHEARD = "handed out\n"
_TRIAL = re.compile(r"((?:trials|finals)/[\w-]+)/")


def mark_away(trial: TrialFolder) -> None:
    """Note that a worker elsewhere has said that it has a trial; it stands there even after a power cut."""
    write_whole(trial.away, "")


def mark_handed_out(trial: TrialFolder) -> None:
    """Note that a trial goes to a worker, who knows where; it stands there even after a power cut."""
    write_whole(trial.away, UNHEARD)


def bring_missing_trials(run: RunFolder, remote: Remote, files: Iterable[RemoteFile]) -> None:
    """Fetch what is newer in the storage than here: then all that is here is ours."""
    there = {found[1] for file in files if (found := _TRIAL.match(file.name))}
    for name in sorted(there):
        trial = TrialFolder(run.path / name)
        if not trial.log.exists() or (trial.away.exists() and is_newer_there(trial, remote.below(name))):
            pull(remote.below(name), trial.path)
    for folder in (*run.path.glob("trials/*"), *run.path.glob("finals/*")):
        TrialFolder(folder).away.unlink(missing_ok=True)  # nothing of those that still have one is newer there


def is_newer_there(trial: TrialFolder, remote: Remote) -> bool:
    """Whether the storage has what is newest of a trial with a mark.

    Epochs are a measure only of one that was handed out and has not ended: who has ended holds no checkpoint any more.

    Raises:
        StorageError: the storage cannot be read.
    """
    return trial.away.read_text() != UNHEARD or epoch_there(remote) > epoch_here(trial)


def is_ours(run: RunFolder, name: str) -> bool:
    """Whether an object is a copy of a file of this machine, once `bring_missing_trials` is through."""
    parts = name.split("/")
    if parts[0] not in {"trials", "finals"} or len(parts) < 3:
        return parts == [f"{BEST}{POINTER}"]
    return TrialFolder(run.path / parts[0] / parts[1]).log.exists()
