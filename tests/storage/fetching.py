"""What other processes do in the tests of fetching: apart, so that they import nothing else."""

import time
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from tune_cnn.data import fetch
from tune_cnn.data.cache import Cache
from tune_cnn.data.fetch import local_copy
from tune_cnn.storage.remote import Remote


class SlowRemote(Remote):
    """A storage far away: whoever asks at the same time surely fetches at the same time."""

    def get(self, name: str, to: Path) -> None:
        """Fetch, after a while."""
        time.sleep(1.0)
        super().get(name, to)


def inode_of(url: str, cache: Cache, start: Barrier, found: "Queue[int]") -> None:
    """Fetch together with another process, and tell which file it came to."""
    vars(fetch)["Remote"] = SlowRemote
    start.wait()
    folder = local_copy(url, cache)
    found.put(min(path.stat().st_ino for path in folder.rglob("*") if path.is_file()))
