"""Which worker a trial's folder belongs to: the last one that took it.

A worker may be given up while it lives: its machine does not answer, or its driver was killed. It would go on to its
epoch's end, and keep that in a folder that another worker trains in by then.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from tune_cnn.files import write_whole
from tune_cnn.results.records import TrialFolder


class Tenure:
    """The hold of one worker on a trial's folder."""

    def __init__(self, folder: TrialFolder) -> None:
        """Take the folder, from whoever had it."""
        self._mark, self._name = folder.worker, uuid4().hex
        write_whole(self._mark, self._name, durable=False)

    @property
    def lasts(self) -> bool:
        """Whether nobody has taken the folder since; yes where that cannot be found out just now."""
        try:
            return self._mark.read_text() == self._name
        except OSError:
            return True

    def end(self) -> None:
        """Leave the folder, if it is still ours."""
        if self.lasts:
            self._mark.unlink(missing_ok=True)


@contextmanager
def holding(folder: TrialFolder) -> Iterator[Tenure]:
    """Take a folder for as long as the block runs."""
    tenure = Tenure(folder)
    try:
        yield tenure
    finally:
        tenure.end()
