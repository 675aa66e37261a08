"""What became of a worker that was lost, by what Ray says of it and what the kernel of this machine has counted."""

import re
from collections.abc import Callable

from tune_cnn.machine import oom_kills
from tune_cnn.results.failures import Failure
from tune_cnn.search.bridge import DIED
from tune_cnn.search.retries import MEMORY_RAN_OUT

_ADDRESS = re.compile(r"^\s*ip: (\S+)$", re.MULTILINE)


class LostWorkers:
    """Tells why workers were lost: Ray knows of its own kills and of machines, but not of the kernel's kills."""

    def __init__(self, here: str, kills: Callable[[], int] = oom_kills) -> None:
        """Begin to tell.

        Args:
            here: the address of this machine, whose kernel can be asked.
            kills: how many processes it has killed so far for lack of memory.
        """
        self._here, self._kills = here, kills
        self._known_kills = kills()

    def failure(self, told: str) -> Failure:
        """Say what became of a worker, by Ray's text of it; empty if there is none."""
        if "NODE_OUT_OF_MEMORY" in told or "running low on memory" in told:
            return Failure(MEMORY_RAN_OUT, "worker")
        if "node has died" in told or "node was terminated" in told:
            return Failure("its machine is gone", "outage")
        if "unavailable" in told:
            return Failure("its machine does not answer", "outage")
        return Failure(MEMORY_RAN_OUT, "worker") if self._killed_here(told) else DIED

    def _killed_here(self, told: str) -> bool:
        """Whether the kernel has killed since we last looked; which process, it does not say."""
        address = _ADDRESS.search(told)
        if address is None or address[1] != self._here:
            return False
        before, self._known_kills = self._known_kills, self._kills()
        return self._known_kills > before
