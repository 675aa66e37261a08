"""Short measurements on the machine at hand: units, training steps, saving, images. Isolated, warmed up, medians.

Weights are random: they cost the same time as learned ones, and a plan can be made before these are there.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tune_cnn import machine
from tune_cnn.config import TrialConfig
from tune_cnn.data.augment import build_policy
from tune_cnn.data.cache import Cache
from tune_cnn.data.decode import decode_image, fit_image
from tune_cnn.sections.image import ImageConfig, Policy
from tune_cnn.training.batches import Batches
from tune_cnn.training.timed_model import TimedModel
from tune_cnn.training.times import ImageTimes, ModelTimes, StepTime
from tune_cnn.training.watch import Watch

_MOST_STEP_SECONDS = 0.4
_BUDGET_SECONDS = 30.0
_IMAGES = 8


def measure_model(
    config: TrialConfig,
    classes: int,
    *,
    depths: Sequence[int],
    batch_sizes: Sequence[int],
    cache: Cache,
    watch: Watch,
) -> ModelTimes:
    """Measure one network at one size.

    Args:
        config: the network, its image size, its optimiser and `cpu_threads`.
        classes: number of logits.
        depths: frozen units to time a step at; others are interpolated.
        batch_sizes: those that may be drawn: the smallest is used for all depths, the largest for the outer ones too.
            Where a step would take longer than half a second, fewer images stand for them. After some seconds what is
            left is not measured, inner depths first.
        cache: keeps in which precision a GPU trains a network fastest; checkpoints are tried on its disk.
        watch: by whose clock the times are.

    Returns:
        Times and bytes. `peak_memory_mb` is that of the process while it was at it, and what the activations of more
        images would add where the largest batch was not run.

    Raises:
        SpaceFileError, WeightsError, TrialError: the network cannot be built or trained so.
    """
    torch.set_num_threads(config.cpu_threads)
    machine.reset_peak_memory()
    began = time.perf_counter()
    timed = TimedModel(config, classes, cache)
    if timed.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()  # of the networks before
    least = timed.network.least_batch
    small, large = max(least, min(batch_sizes)), max(least, *batch_sizes)
    units, top, sizes = timed.forward(least, watch)
    units, top, sizes = timed.forward(_affordable(small, sum(units) + top, least), watch)
    forward = sum(units) + top
    outer = sorted({min(depths), max(depths)})
    small, large = (_affordable(size, forward, least) for size in (small, large))
    points = [(depth, small) for depth in outer] + [(depth, large) for depth in outer if large != small]
    points += [(depth, small) for depth in sorted(set(depths) - set(outer), reverse=True)]
    steps: list[StepTime] = []
    for depth, size in points:
        if depth in outer or time.perf_counter() - began < _BUDGET_SECONDS:
            steps.append(timed.step(depth, size, watch))
    peak = torch.cuda.max_memory_allocated() / 2**20 if timed.device.type == "cuda" else machine.peak_memory_mb()
    peak += timed.saved_bytes(outer[0]) * (max(batch_sizes) - max(size for _, size in points)) / 2**20
    with tempfile.TemporaryDirectory(dir=_made(cache.folder), prefix="timing-") as folder:
        saves = tuple(timed.saving(depth, Path(folder)) for depth in reversed(outer))
        best = timed.saving_best(Path(folder))
        # A trial that runs keeps the states of the last epoch, of the one before and of the best one.
        files = [file for file in Path(folder).rglob("*") if file.is_file()]
        size = sum(file.stat().st_size * (3 if file.parent.name == "last" else 1) for file in files)
    ladder = timed.ladder()
    for cut, forms in ladder.rungs.items():
        sizes[cut - 1] = sum(form.size_bytes for form in forms)
    return ModelTimes(
        cuts=timed.cuts(ladder),
        read_seconds_per_byte=ladder.costs.seconds_per_byte,
        unit_seconds=tuple(units),
        top_seconds=top,
        map_bytes=tuple(sizes),
        steps=tuple(steps),
        build_seconds=timed.build_seconds,
        saves=saves,
        save_best_seconds=best,
        checkpoint_mb=size / 2**20,
        peak_memory_mb=peak,
    )


def measure_images(
    files: Sequence[Path], image: ImageConfig, policies: Mapping[str, Policy], *, watch: Watch, masks: bool = False
) -> ImageTimes:
    """Measure decoding, loading and augmenting on real images.

    Args:
        files: images that can be read, one at least; a few of them are used.
        image: how they are fitted.
        policies: of augmentation, by the name under which their time is given.
        watch: by whose clock the times are.
        masks: whether a mask is augmented with each image.
    """
    chosen = [files[place] for place in sorted(set(np.linspace(0, len(files) - 1, _IMAGES).astype(int)))]
    decoded: list[NDArray[np.uint8]] = []

    def decode() -> None:
        decoded[:] = [_fitted(file, image) for file in chosen]

    decode_seconds = _each(decode, len(chosen), watch)
    pixels = np.stack(decoded)
    drawing = {name: _drawing(pixels, policy, watch, masks=masks) for name, policy in policies.items()}
    return ImageTimes(decode_seconds, _loading(pixels, watch), drawing)


def _fitted(file: Path, image: ImageConfig) -> NDArray[np.uint8]:
    return fit_image(decode_image(file.read_bytes(), max_megapixels=image.max_megapixels), image.px, image.fit)


def _drawing(pixels: NDArray[np.uint8], policy: Policy, watch: Watch, *, masks: bool) -> float:
    if not policy or policy == "none":
        return 0.0
    px = pixels.shape[1]
    augmenter, target = build_policy(policy, px, masks=masks), np.zeros((px, px), np.uint8) if masks else 0

    def draw() -> None:
        for seed, image in enumerate(pixels):
            augmenter.view(image, target, seed)

    return _each(draw, len(pixels), watch)


def _loading(pixels: NDArray[np.uint8], watch: Watch) -> float:
    labels, normal = np.zeros(len(pixels), np.int64), ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    batches = Batches.of(pixels, labels, batch_size=len(pixels), preprocessing=normal, device=watch.device)
    return _each(lambda: list(batches.in_order()), len(pixels), watch)


def _each(task: Callable[[], object], images: int, watch: Watch) -> float:
    """Give the median time of a task per image."""

    def once() -> list[float]:
        began = watch.now()
        task()
        return [(watch.now() - began) / images]

    return watch.medians(once)[0]


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _affordable(batch_size: int, forward_seconds: float, least: int) -> int:
    """Give the batch size, or as many images as a step of half a second has room for."""
    room = int(_MOST_STEP_SECONDS / (3 * forward_seconds)) if forward_seconds else batch_size
    return max(least, min(batch_size, room))
