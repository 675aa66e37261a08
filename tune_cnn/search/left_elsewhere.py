"""Trials of other machines that an earlier driver of a run in a storage did not come to fetch."""

import re
from collections.abc import Iterable

from tune_cnn.results.best_model import BEST
from tune_cnn.results.records import RunFolder, TrialFolder
from tune_cnn.storage.mirror import POINTER
from tune_cnn.storage.pull import pull
from tune_cnn.storage.remote import Remote, RemoteFile

_TRIAL = re.compile(r"((?:trials|finals)/[\w-]+)/")


def bring_missing_trials(run: RunFolder, remote: Remote, files: Iterable[RemoteFile]) -> None:
    """Fetch the trials of other machines that an earlier driver did not come to fetch: then all that is here is ours.

    Epochs are no measure of which copy is newer: who has ended holds no checkpoint any more.
    """
    there = {found[1] for file in files if (found := _TRIAL.match(file.name))}
    for name in sorted(there):
        if _lies_elsewhere(TrialFolder(run.path / name)):
            pull(remote.below(name), run.path / name)
    for folder in (*run.path.glob("trials/*"), *run.path.glob("finals/*")):
        TrialFolder(folder).away.unlink(missing_ok=True)  # nothing of those that still have one has ever arrived


def is_ours(run: RunFolder, name: str) -> bool:
    """Whether an object is a copy of a file of this machine; trials that ran elsewhere are not here."""
    parts = name.split("/")
    if parts[0] not in {"trials", "finals"} or len(parts) < 3:
        return parts == [f"{BEST}{POINTER}"]
    return not _lies_elsewhere(TrialFolder(run.path / parts[0] / parts[1]))


def _lies_elsewhere(trial: TrialFolder) -> bool:
    """Whether a trial that the storage has is newer there, as another machine has brought it."""
    return trial.away.exists() or not trial.log.exists()
