"""What became of a worker that was lost, by what Ray says of it and what the kernel of this machine has counted."""

import re
from collections.abc import Callable

from tune_cnn.machine import oom_kills
from tune_cnn.results.failures import Failure
from tune_cnn.search.bridge import DIED
from tune_cnn.search.retries import MEMORY_RAN_OUT

_ADDRESS = re.compile(r"(?:^\s*ip: |\bip=)([^\s,)]+)", re.MULTILINE)
_ANOTHER_VERSION = re.compile(r"failed to import on the worker|run_job\(\) got an unexpected keyword argument")


class LostWorkers:
    """Tells why workers were lost: Ray knows of its own kills and of machines, but not of the kernel's kills."""

    def __init__(
        self, here: str, kills: Callable[[], int] = oom_kills, *, machine_at: Callable[[str], str] = lambda _: ""
    ) -> None:
        """Begin to tell.

        Args:
            here: the address of this machine, whose kernel can be asked.
            kills: how many processes it has killed so far for lack of memory.
            machine_at: gives Ray's id of the machine at an address; empty if it knows no single one.
        """
        self._here, self._kills, self._machine_at = here, kills, machine_at
        self._known_kills = kills()

    def failure(self, told: str) -> Failure:
        """Say what became of a worker, by Ray's text of it; empty if there is none."""
        if _ANOTHER_VERSION.search(told):
            return self._another_version(told)
        if "NODE_OUT_OF_MEMORY" in told or "running low on memory" in told:
            return Failure(MEMORY_RAN_OUT, "worker")
        if "node has died" in told or "node was terminated" in told:
            return Failure("its machine is gone", "outage")
        if "unavailable" in told:
            return Failure("its machine does not answer", "outage")
        return Failure(MEMORY_RAN_OUT, "worker") if self._killed_here(told) else DIED

    def _another_version(self, told: str) -> Failure:
        """Blame the machine, which fails every trial at once and so would be given them all, retries too."""
        address = _ADDRESS.search(told)
        where = address[1] if address else "a machine"
        machine = self._machine_at(where)
        reason = (
            f"{where}: has no tune-cnn, or another; install the same on all: pip install --constraint constraints.txt"
        )
        return Failure(reason, "machine" if machine else "worker", machine)

    def _killed_here(self, told: str) -> bool:
        """Whether the kernel has killed since we last looked; which process, it does not say."""
        address = _ADDRESS.search(told)
        if address is None or address[1] != self._here:
            return False
        before, self._known_kills = self._known_kills, self._kills()
        return self._known_kills > before
