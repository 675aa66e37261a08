"""How much memory this process holds now, and how it grew."""

from collections.abc import Sequence
from pathlib import Path

_STATUS = Path("/proc/self/status")


def resident_mb() -> float:
    """Give the resident memory of this process in MiB."""
    (line,) = (line for line in _STATUS.read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 2**10


def growth_mb(samples: Sequence[float]) -> float:
    """Give by how much memory grew from the first tenth of equally spaced samples to the last tenth, in MiB.

    Means over tenths: what an allocator keeps or gives back from one sample to the next is no growth.
    """
    tenth = max(1, len(samples) // 10)
    # The first tenth of all is left out: there caches fill, libraries load, and every process grows.
    early, late = samples[tenth : 2 * tenth] or samples[:1], samples[-tenth:]
    return sum(late) / len(late) - sum(early) / len(early)
