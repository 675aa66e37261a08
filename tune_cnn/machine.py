"""What this machine has, and what this process takes of it."""

import gc
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")


def usable_cpus() -> int:
    """Count the CPUs this process may use: fewer than the machine has in a container or under `taskset`."""
    # macOS knows no affinity
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return within_quota(cpus, cgroup_cpus())


def within_quota(cpus: int, quota: float | None) -> int:
    """Give how many whole CPUs a quota leaves of `cpus`, one at least; None leaves all.

    The part of one that is left over would only hold up the trial that counts on it.
    """
    return cpus if quota is None else max(1, min(cpus, int(quota)))


def cgroup_cpus(root: Path = Path("/")) -> float | None:
    """Give how many CPUs' time the control groups of this process allow, as containers and Slurm set it.

    Args:
        root: the file system's root; tests hand in their own.

    Returns:
        The least quota from this process's group upward, in CPUs; None without any quota.
    """
    with suppress(OSError):
        lines = (root / "proc/self/cgroup").read_text().splitlines()
        quotas = [quota for line in lines for folder in _cgroup_folders(root, line) if (quota := _quota(folder))]
        return min(quotas, default=None)
    return None


def _cgroup_folders(root: Path, line: str) -> Iterator[Path]:
    """Give the folders that rule a line of /proc/self/cgroup: `0::/path` (v2) or `4:cpu,cpuacct:/path` (v1).

    In a container the path may be the host's, of which only the top is mounted.
    """
    _, controllers, path = line.split(":", 2)
    base = root / "sys/fs/cgroup"
    mounts = [base / name for name in (controllers, "cpu")] if "cpu" in controllers.split(",") else []
    for mount in mounts or ([base, base / "unified"] if not controllers else []):
        inner = mount / path.lstrip("/")
        yield from (inner, *(folder for folder in inner.parents if folder.is_relative_to(mount)))


def _quota(folder: Path) -> float | None:
    """Read a folder's quota in CPUs, `cpu.max` of v2 or `cpu.cfs_quota_us` of v1; None where it has none."""
    with suppress(OSError, ValueError):
        quota, period = map(int, (folder / "cpu.max").read_text().split())  # "max" is no number: no quota
        return quota / period
    with suppress(OSError, ValueError):
        quota, period = (int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        return quota / period if quota > 0 else None
    return None


def memory_mb(root: Path = Path("/")) -> float:
    """Give how much memory this process may count on, in MiB: the machine's, or less if a control group says so."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20
    limits = [physical]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # "max" is no number: no limit
            limits.append(int((root / "sys/fs/cgroup" / name).read_text()) / 2**20)
    return min(limits)


@contextmanager
def collector_asleep() -> Iterator[None]:
    """Let Python's garbage collector sleep while large libraries are imported: it would look through all they make.

    A fifth of the time that torch and timm take to be imported.
    """
    awake = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if awake:
            gc.enable()


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


def oom_kills(root: Path = Path("/")) -> int:
    """Count the processes that the kernel has killed for lack of memory, of whichever container, since it started.

    Returns:
        0 too where it does not tell: before Linux 4.13, and on other systems.
    """
    with suppress(OSError):
        for line in (root / "proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
