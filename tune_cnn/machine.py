"""What this machine has, and what this process takes of it."""

import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")


def usable_cpus() -> int:
    """Count the CPUs this process may use: fewer than the machine has in a container or under `taskset`."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS knows no affinity


def reset_peak_memory() -> None:
    """Begin to look for the peak anew: a worker runs many trials, and each should be charged for its own.

    Linux alone can do this; elsewhere the peak stays that of the whole process.
    """
    with suppress(OSError):
        _CLEAR_REFS.write_text("5")  # 5 resets VmHWM, see proc(5)


def peak_memory_mb() -> float:
    """Give the highest resident memory since `reset_peak_memory`, in MiB."""
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 2**10, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
