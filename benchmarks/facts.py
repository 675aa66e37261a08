"""Where and with what something was measured."""

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from benchmarks.places import ROOT
from tune_cnn.machine import usable_cpus

_PACKAGES = ("tune-cnn", "ray", "optuna", "torch", "timm", "albumentations", "opencv-python-headless", "numpy")
_CPUINFO = Path("/proc/cpuinfo")
_BUSY_PER_CORE = 0.25


def measuring_facts() -> dict[str, Any]:
    """Give machine, versions, commit, date and load as plain data."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": f"{usable_cpus()} cores of {_cpu_name()}, {platform.machine()}",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU",
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in _PACKAGES},
        "commit": _commit(),
        "load_average": load_average(),
    }


def load_average() -> float:
    """Give the mean number of processes that wanted a core in the last minute."""
    return round(os.getloadavg()[0], 2)


def is_busy() -> bool:
    """Whether others use this machine so much that times mean little."""
    return load_average() > _BUSY_PER_CORE * usable_cpus()


def _cpu_name() -> str:
    if _CPUINFO.exists():
        names = [line.partition(":")[2].strip() for line in _CPUINFO.read_text().splitlines() if "model name" in line]
        if names:
            return names[0]
    return platform.processor() or "an unnamed processor"


def _commit() -> str:
    """Name the commit that was measured, and whether the tree differs from it."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    asked = [git, "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=10"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
