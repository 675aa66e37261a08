"""How much of a GPU training takes, measured by training: what else lies on the GPU meanwhile is counted in."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tune_cnn.config import TrialConfig
from tune_cnn.data.cache import Cache
from tune_cnn.errors import TrialError, TuneCnnError
from tune_cnn.models.trunk import frozen_units_of
from tune_cnn.training.batches import best_device
from tune_cnn.training.micro_batches import is_out_of_memory
from tune_cnn.training.timed_model import TimedModel
from tune_cnn.training.watch import Watch


@dataclass(frozen=True)
class GpuMemory:
    """What the greediest of some configurations takes of a GPU, with the CUDA context that every process has."""

    used_mb: float
    total_mb: float


def gpu_memory(configs: Sequence[TrialConfig], classes: int, cache: Cache) -> GpuMemory | None:
    """Train a few steps of each configuration, one after the other, in the one process on a GPU.

    Args:
        configs: built with random weights; one that cannot be built or trained is left out.
        classes: number of logits.
        cache: keeps in which precision the GPU trains them fastest.

    Returns:
        None where there is no GPU. All of it is used where memory does not suffice for a configuration, or none can be
        built.
    """
    device = best_device()
    if device.type != "cuda":
        return None
    whole = torch.cuda.get_device_properties(device).total_memory
    used = max((_used_bytes(config, classes, cache, device, whole) for config in configs), default=0) or whole
    return GpuMemory(used_mb=used / 2**20, total_mb=whole / 2**20)


def _used_bytes(config: TrialConfig, classes: int, cache: Cache, device: torch.device, whole: int) -> int:
    try:
        timed = TimedModel(config, classes, cache)
        torch.cuda.empty_cache()  # of the probe
        torch.cuda.reset_peak_memory_stats(device)
        timed.step(frozen_units_of(config.model), config.training.batch_size, Watch(device, config.cpu_threads))
    except TrialError:  # memory does not suffice for a single image
        return whole
    except TuneCnnError:
        return 0
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return whole
    free, _ = torch.cuda.mem_get_info(device)
    context = whole - free - torch.cuda.memory_reserved(device)
    return int(context + torch.cuda.max_memory_reserved(device))
