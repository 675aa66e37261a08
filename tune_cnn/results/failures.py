"""Why a trial failed, in one line, and who is to blame: the trial itself, or what all trials stand on."""

import errno
import traceback
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from tune_cnn.errors import ChangedDataError, StoreError, UnreachedTrialError
from tune_cnn.files import write_whole
from tune_cnn.masking import masked
from tune_cnn.results.records import TrialFolder

Blame = Literal["trial", "store", "data", "worker", "outage", "hang", "machine", "storage"]

_MOST_LETTERS = 500  # of a reason in a table; error.txt has all of it
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ESTALE}


@dataclass(frozen=True)
class Failure:
    """A failed trial's reason, fit for a table, and who is to blame.

    `store` and `data` would have let any other trial fail in its place. Of `worker`, which was lost, of `outage`,
    which took its machine along, and of `hang` it may well recover. On a `machine` that differs from the driver's it
    was not even begun; nor where the `storage` that its checkpoint lies in does not answer.
    """

    reason: str
    blame: Blame = "trial"
    machine: str = ""
    """The id of the machine that is to blame."""

    def as_json(self) -> dict[str, Any]:
        """Give plain data that `Failure(**data)` reads back."""
        return dict(self.__dict__)


def failure_of(error: BaseException) -> Failure:
    """Describe an exception by its own type and message, not by those of what caused it."""
    text = "; ".join(line.strip() for line in masked(str(error)).splitlines() if line.strip())
    reason = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return Failure(reason if len(reason) <= _MOST_LETTERS else f"{reason[:_MOST_LETTERS]}…", _blame(error))


def write_traceback(folder: TrialFolder) -> None:
    """Write the traceback of the exception at hand to error.txt, if the disk still takes it."""
    with suppress(OSError):
        write_whole(folder.error, masked(traceback.format_exc()))


def _blame(error: BaseException | None) -> Blame:
    while error is not None:
        if isinstance(error, ChangedDataError):
            return "data"
        if isinstance(error, UnreachedTrialError):
            return "storage"
        if isinstance(error, StoreError) or (isinstance(error, OSError) and error.errno in _DISK_ERRORS):
            return "store"
        error = error.__cause__
    return "trial"
