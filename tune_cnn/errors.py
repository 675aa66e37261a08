"""Every error this package raises on purpose, grouped by who has to act.

TuneCnnError
├── InputError            the user's files or arguments: one clear message, exit code 2
│   ├── SpaceFileError    a space, config or model file
│   ├── ClusterFileError  a file for `ray up` or Kubernetes
│   ├── DataError         the images and their labels
│   │   ├── UnreadableImagesError  some cannot be read
│   │   └── ChangedDataError  they are others than the search began with: it stops, nothing is lost
│   ├── WeightsError      pretrained weights that cannot be had or do not fit
│   ├── RunFolderError    a run folder that is missing, foreign or another search's
│   └── StorageError      a storage (s3://, gs://) that is missing, forbidden or out of reach
│       └── UnreachedTrialError  what a trial has done so far lies there: it waits, the search goes on
├── TrialError            one trial: the search goes on
│   ├── DivergedError     the loss is no longer a number
│   └── MismatchError     the live objects do not hold what was sampled
├── CacheUnusableError    disk full, or over --cache-gb: whoever asked the cache goes on without it
├── SearchError           the search as a whole could not produce a result: exit code 1
└── StoreError            disk or cluster: the search stops, nothing is lost
"""

from collections.abc import Iterable, Mapping
from typing import Self


class TuneCnnError(Exception):
    """Base of all errors raised on purpose; its text is meant to be read by the user."""


class InputError(TuneCnnError):
    """The user's input has to change. Carries every fault found, one line each."""

    def __init__(self, faults: str | Iterable[str]) -> None:
        self.faults: tuple[str, ...] = (faults,) if isinstance(faults, str) else tuple(faults)
        super().__init__("\n".join(self.faults))

    def naming(self, place: str, instead_of: str) -> Self:
        """Give the same error with a place named in the user's words instead of ours."""
        return type(self)(fault.replace(instead_of, place) for fault in self.faults)


class SpaceFileError(InputError):
    """A space, config or model file says something that cannot be done."""


class ClusterFileError(InputError):
    """A file for `ray up` or Kubernetes is wrong, or leaves something open."""


class DataError(InputError):
    """The images, their labels or their layout cannot be used as they are."""


class UnreadableImagesError(DataError):
    """Some images cannot be read: for each the file and the reason, and how many there are by split, these too."""

    def __init__(self, reasons: Iterable[str], counts: Mapping[str, int]) -> None:
        self.reasons, self.counts = tuple(reasons), counts
        super().__init__(f"{reason}; replace it, or write data.on_bad: skip to leave it out" for reason in self.reasons)

    def naming(self, place: str, instead_of: str) -> Self:
        """As above."""
        return type(self)((reason.replace(instead_of, place) for reason in self.reasons), self.counts)


class ChangedDataError(DataError):
    """The images are no longer those that the search began with, or cannot be read any more."""


class WeightsError(InputError):
    """Pretrained weights cannot be had, or do not fit the backbone."""


class RunFolderError(InputError):
    """A run folder is missing, damaged, or holds another search."""


class StorageError(InputError):
    """A storage is missing, forbidden or out of reach; once a search is under way, it is asked again."""


class UnreachedTrialError(StorageError):
    """A trial cannot go on just now: what it has done so far lies in a storage that does not answer."""


class TrialError(TuneCnnError):
    """One trial cannot go on; the search does."""


class DivergedError(TrialError):
    """The loss is no longer a finite number."""


class MismatchError(TrialError):
    """The live model, optimiser or data do not hold the values that were sampled."""


class CacheUnusableError(TuneCnnError):
    """The cache cannot hold or give what was asked of it; what it would have given can be made without it."""


class SearchError(TuneCnnError):
    """The search as a whole could not produce a result."""


class StoreError(TuneCnnError):
    """A disk or the cluster failed; what was finished is kept."""
