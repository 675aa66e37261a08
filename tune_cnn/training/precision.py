"""In which numbers and in which order in memory a network trains: what a short probe on this GPU finds fastest.

On CPUs nothing is probed: `auto` is full precision there, so that a score depends on the config and never on a
stopwatch (docs/decisions/0013).
"""

import copy
import hashlib
import json
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tune_cnn.config import TrialConfig
from tune_cnn.data.cache import Cache
from tune_cnn.models.network import Inputs, Network
from tune_cnn.training.micro_batches import is_out_of_memory

CLEARLY = 1.15
"""How much faster something has to be than what it would replace: less may be chance."""
_ROUNDS = 5
_STEPS = 3
_MOST_IMAGES = 64
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_LAYOUTS = {"as_it_comes": None, "contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@dataclass(frozen=True)
class Precision:
    """How a network computes while it trains. Weights stay in float32, and scores are always had in float32."""

    dtype: str = "float32"
    layout: str = "as_it_comes"
    """Of images and feature maps; of the weights too if it is channels_last."""

    def __str__(self) -> str:
        return self.dtype if self.layout == "as_it_comes" else f"{self.dtype}, {self.layout}"

    @property
    def torch_dtype(self) -> torch.dtype:
        """What convolutions and matrix products are computed in."""
        return _DTYPES[self.dtype]

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        """Compute in this dtype where that is safe."""
        return torch.autocast(device.type, dtype=self.torch_dtype, enabled=self.dtype != "float32")

    def place(self, network: Network) -> None:
        """Lay out the weights, in place: whoever shares them sees them so too."""
        if layout := _LAYOUTS[self.layout]:
            network.to(memory_format=layout)

    def arrange(self, inputs: Inputs) -> Inputs:
        """Lay out a batch."""
        layout = _LAYOUTS[self.layout]
        if layout is None:
            return inputs
        if isinstance(inputs, Tensor):
            return inputs.contiguous(memory_format=layout) if inputs.ndim == 4 else inputs
        return tuple(each.contiguous(memory_format=layout) if each.ndim == 4 else each for each in inputs)


FULL = Precision()


def precision_for(config: TrialConfig, network: Network, cache: Cache, device: torch.device) -> Precision:
    """Say how a network of a config trains on a device; what a GPU is fastest at is probed once per machine and kept.

    Args:
        config: its `training.precision`, model, image size and batch size.
        network: as the config has it; stays as it is.
        cache: keeps what was found.
        device: where it trains.
    """
    name = config.training.precision
    if device.type != "cuda":
        return Precision("bfloat16" if name == "half" else "float32")
    with torch.cuda.device(device):  # a GPU without units for bfloat16 emulates it, slowly
        half = "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    dtypes = {"float32": ("float32",), "half": (half,), "auto": ("float32", half)}[name]
    candidates = [Precision(dtype, layout) for dtype in dtypes for layout in ("contiguous", "channels_last")]
    return fastest(candidates, config, network, cache, device)


def fastest(
    candidates: Sequence[Precision], config: TrialConfig, network: Network, cache: Cache, device: torch.device
) -> Precision:
    """Give what a probe on this machine finds clearly fastest, or found before: trials alike compute alike.

    Args:
        candidates: the most exact and plainest first.
        config: of the network.
        network: stays as it is.
        cache: keeps what was found.
        device: of the network.
    """
    images, px = images_to_probe_with(config.training.batch_size), config.image.px
    about = {
        "candidates": [str(one) for one in candidates],
        # Neither head nor freeze depth: trials that differ by these should not differ by their numbers besides.
        "model": config.model.model_dump(mode="json", include={"backbone", "stages", "decoder"}),
        "px": px,
        "images": images,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "torch": torch.__version__,
    }

    def make() -> dict[str, Any]:
        noise = torch.randn(images, px, px, 3, generator=torch.Generator().manual_seed(0))
        seconds = probe(network, noise.to(device).permute(0, 3, 1, 2), candidates)
        if device.type == "cuda":  # what it took, all of the network trained, is not what the trial takes
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        milliseconds = {str(one): None if math.isinf(time) else 1000 * time for one, time in seconds.items()}
        return {**vars(choose(seconds)), "about": about, "milliseconds": milliseconds}

    facts = cache.note("precision", hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest(), make)
    return Precision(facts["dtype"], facts["layout"])


def images_to_probe_with(batch_size: int) -> int:
    """Round a batch size up to a power of two, so that near ones share a probe; 2 to 64."""
    return min(_MOST_IMAGES, max(2, 1 << (batch_size - 1).bit_length()))


def choose(seconds: Mapping[Precision, float]) -> Precision:
    """Take the first; another one only if it is clearly faster than what was taken among those before it.

    Args:
        seconds: of a step, the most exact and plainest first; infinite for what memory does not suffice for.
    """
    best, *others = seconds
    for other in others:
        if seconds[other] * CLEARLY < seconds[best]:
            best = other
    return best


def probe(network: Network, images: Tensor, candidates: Sequence[Precision]) -> dict[Precision, float]:
    """Time training steps of a copy of a network, nothing of it frozen; the network and torch's random draws stay.

    Args:
        network: on the device of the images.
        images: (B, 3, H, W).
        candidates: taken in turn, round after round, so that what disturbs one disturbs all.

    Returns:
        For each the median seconds of a few steps; infinite if memory does not suffice.
    """
    subject = copy.deepcopy(network)
    subject.freeze_to(0)
    subject.train()
    times: dict[Precision, list[float]] = {candidate: [] for candidate in candidates}
    with torch.random.fork_rng([images.device] if images.device.type == "cuda" else []):
        for _ in range(1 + _ROUNDS):
            for candidate in candidates:
                times[candidate].append(_seconds(subject, images, candidate))
    # The first round makes what later ones find made: kernels chosen, memory taken.
    return {candidate: statistics.median(found[1:]) for candidate, found in times.items()}


def _seconds(network: Network, images: Tensor, precision: Precision) -> float:
    precision.place(network)
    arranged = precision.arrange(images)
    _wait_for(images.device)
    started = time.perf_counter()
    try:
        for _ in range(_STEPS):
            network.zero_grad(set_to_none=True)
            with precision.autocast(images.device):
                logits: Tensor = network(arranged)
            logits.float().square().mean().backward()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return math.inf
    _wait_for(images.device)
    return time.perf_counter() - started


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
