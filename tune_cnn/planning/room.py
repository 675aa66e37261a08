"""Whether a search fits: the disks of its caches and checkpoints, and the memory of its trials."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tune_cnn import machine
from tune_cnn.data.cache import Cache
from tune_cnn.planning.slots import Slots
from tune_cnn.sections.search import SearchConfig
from tune_cnn.training.times import ModelTimes

WORKER_OVER_BARE = 1.4
"""What a worker takes over the bare process that measured: 1.36 to 1.39 times as much in three searches of lite0 at
96 px on CPUs, by their `peak_memory_mb` at the largest batch."""


@dataclass(frozen=True)
class Need:
    """What something takes at most, and what there is, in 10^9 bytes."""

    what: str
    needed_gb: float
    there_gb: float
    way_out: str

    @property
    def fits(self) -> bool:
        """Whether there is enough."""
        return self.needed_gb <= self.there_gb

    @property
    def text(self) -> str:
        """Say what is too much, and what to do."""
        return f"{self.what} up to {self.needed_gb:.1f} GB, but there are {self.there_gb:.1f} GB; {self.way_out}"


def cache_need(cache: Cache, needed_gb: float) -> Need:
    """Hold what trials share against what the cache may take; beyond that, what was not used for longest goes."""
    there = free_gb(cache.folder) / 2 if cache.limit_gb is None else cache.limit_gb
    way_out = "what goes for the room of others is made again; write --cache-dir elsewhere, or fewer training.views"
    return Need(f"what trials share below {cache.folder} takes", needed_gb, there, way_out)


def checkpoints_need(search: SearchConfig, models: Iterable[ModelTimes], offered: Slots, folder: Path) -> Need:
    """Say what weights and states take at most at any moment: of running trials, of those kept, of the finals."""
    finals = search.finals.top * search.finals.repeats if search.finals else 0
    at_once = offered.concurrent + min(search.keep, search.trials) + finals
    needed = max((times.checkpoint_mb for times in models), default=0.0) * at_once * 2**20 / 1e9
    return Need(f"checkpoints below {folder} take", needed, free_gb(folder), "free some, or write --out elsewhere")


def memory_need(models: Iterable[ModelTimes], offered: Slots) -> Need:
    """Say what the trials that share a machine, or a GPU, take of its memory; 0 where it was not measured."""
    peak_mb = max((of_worker_mb(times) or 0.0 for times in models), default=0.0)
    on_gpu = int(1 / offered.per_trial_gpus) if offered.per_trial_gpus else offered.concurrent
    at_once = max(1, min(on_gpu, offered.concurrent))
    return Need(
        f"{at_once} trials side by side take",
        peak_mb * at_once * 2**20 / 1e9,
        _memory_there_gb(offered),
        "write a smaller --concurrent, training.batch_size or image.px",
    )


def of_worker_mb(times: ModelTimes) -> float | None:
    """Give what a worker takes for a network at most; None where it was not measured."""
    return None if times.peak_memory_mb is None else times.peak_memory_mb * WORKER_OVER_BARE


def free_gb(folder: Path) -> float:
    """Say how much is free on the disk of a folder, which need not be there yet."""
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    return shutil.disk_usage(there).free / 1e9


def _memory_there_gb(offered: Slots) -> float:
    if not offered.gpus:
        return machine.memory_mb() * 2**20 / 1e9
    import torch

    return float(torch.cuda.get_device_properties(0).total_memory) / 1e9
