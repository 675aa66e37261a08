"""Short measurements on the machine at hand: units, training steps, saving, images. Isolated, warmed up, medians.

Weights are random: they cost the same time as learned ones, and a plan can be made before these are there.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn, optim

from tune_cnn import machine
from tune_cnn.config import TrialConfig
from tune_cnn.data.augment import build_policy
from tune_cnn.data.cache import Cache
from tune_cnn.data.decode import decode_image, fit_image
from tune_cnn.models.build import build_network
from tune_cnn.models.network import Network
from tune_cnn.models.saved import save_model
from tune_cnn.models.units import units_of
from tune_cnn.sections.image import ImageConfig, Policy
from tune_cnn.training.batches import Batches, best_device
from tune_cnn.training.checkpoint import Checkpoint, frozen_digest, moving_state, save_checkpoint
from tune_cnn.training.objective import objective_for
from tune_cnn.training.precision import precision_for
from tune_cnn.training.schedule import build_optimizer, parameter_groups
from tune_cnn.training.step import TrainStep
from tune_cnn.training.times import ImageTimes, ModelTimes, SaveTime, StepTime

_SECONDS_EACH = 0.3
_MOST_REPEATS = 5
_MOST_STEP_SECONDS = 0.4
_BUDGET_SECONDS = 20.0
_IMAGES = 8


@dataclass(frozen=True)
class _Sample:
    """Random images and targets on the device."""

    images: Tensor
    targets: Tensor


class Watch:
    """A clock for parts, and how much longer than by this clock everything takes.

    In one thread on a CPU it counts the CPU's time: other programs come and go, and hold up one part of a measurement
    and not the next. What they take is `load`, one figure over all that was measured.
    """

    def __init__(self, device: torch.device, threads: int) -> None:
        """Measure on a device with so many threads."""
        self.device = device
        self._of_cpu = device.type == "cpu" and threads == 1
        self._wall = self._spent = 0.0

    def now(self) -> float:
        """Give seconds; on a GPU, once all that was asked of it is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.process_time() if self._of_cpu else time.perf_counter()

    @property
    def load(self) -> float:
        """Seconds that passed for each second by this clock: 1 on a machine without other work."""
        return max(1.0, self._wall / self._spent) if self._spent else 1.0

    def medians(self, once: Callable[[], list[float]]) -> list[float]:
        """Run once to warm up, then until some time is used, twice at least; the median of each figure."""
        once()
        began, spent = time.perf_counter(), self.now()
        rows = [once()]
        while len(rows) < _MOST_REPEATS and (len(rows) == 1 or self.now() - spent < _SECONDS_EACH):
            rows.append(once())
        self._spent += self.now() - spent
        self._wall += time.perf_counter() - began
        return [statistics.median(column) for column in zip(*rows, strict=True)]


class TimedModel:
    """One network in the state of a training run, whose parts can be timed one by one."""

    def __init__(self, config: TrialConfig, classes: int, cache: Cache) -> None:
        """Build the network of a config with random weights.

        Args:
            config: model, image size, optimiser and loss.
            classes: number of logits.
            cache: keeps in which precision a GPU trains it fastest.
        """
        model = config.model.model_copy(update={"weights": "none", "weights_file": None})
        for _ in range(2):  # a worker keeps what it has built, and gives the next trial a copy
            torch.manual_seed(config.seed)
            began = time.perf_counter()
            network = build_network(model, classes, px=config.image.px)
            self.build_seconds = time.perf_counter() - began
        self.config, self.classes, self.device = config, classes, best_device()
        self.network: Network = network.to(self.device)
        precision = precision_for(config, self.network, cache, self.device)
        precision.place(self.network)
        loss = objective_for(config.task, config.training, [1] * classes).train_loss
        self._step = TrainStep(loss, precision, self.device)

    @property
    def units(self) -> list[nn.Module]:
        """The units of the backbone, first to run first."""
        return [module for _, module in units_of(self.network.trunk)]

    def forward(self, batch_size: int, watch: Watch) -> tuple[list[float], float, list[int]]:
        """Time one pass through everything with marks at each unit.

        Returns:
            Seconds per image of each unit, those of the rest of the pass, and bytes per image after each unit.
        """
        sample, self_bytes = self._sample(batch_size), [0] * len(self.units)
        self.network.eval()

        def once() -> list[float]:
            spent, began = [0.0] * len(self.units), [0.0] * len(self.units)

            def start(place: int) -> Callable[..., None]:
                def hook(*_: object) -> None:
                    began[place] = watch.now()

                return hook

            def end(place: int) -> Callable[..., None]:
                def hook(_module: nn.Module, _inputs: object, output: object) -> None:
                    spent[place] += watch.now() - began[place]
                    self_bytes[place] = _bytes(output) // batch_size

                return hook

            hooks = [unit.register_forward_pre_hook(start(place)) for place, unit in enumerate(self.units)]
            hooks += [unit.register_forward_hook(end(place)) for place, unit in enumerate(self.units)]
            try:
                whole = watch.now()
                with torch.inference_mode():
                    self.network(sample.images)
                return [*spent, max(0.0, watch.now() - whole - sum(spent))]
            finally:
                for hook in hooks:
                    hook.remove()

        *units, top = [seconds / batch_size for seconds in watch.medians(once)]
        return units, top, self_bytes

    def step(self, frozen_units: int, batch_size: int, watch: Watch) -> StepTime:
        """Time training steps at a freeze depth: what runs before the first unit that trains, and the rest."""
        sample = self._sample(batch_size)
        self._step.begin(self.network, self.optimizer(frozen_units))
        self.network.train()

        def once() -> list[float]:
            marks: list[float] = []
            last = self.units[frozen_units - 1] if frozen_units else None
            hook = last.register_forward_hook(lambda *_: marks.append(watch.now())) if last else None
            began = watch.now()
            self._step(sample.images, sample.targets)
            ended = watch.now()
            if hook:
                hook.remove()
            through = marks[0] if marks else began
            return [through - began, ended - through]

        prefix, rest = [seconds / batch_size for seconds in watch.medians(once)]
        return StepTime(frozen_units, batch_size, prefix, rest)

    def saved_bytes(self, frozen_units: int) -> int:
        """Count what a forward pass keeps for the backward one, per image, the weights aside."""
        self.optimizer(frozen_units)
        self.network.train()
        weights = {one.untyped_storage().data_ptr() for one in self.network.parameters()}
        kept: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        sample = self._sample(batch := 2)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            logits = self.network(sample.images)  # held until it is counted: what is freed could be counted twice
        del logits
        return sum(kept.values()) // batch

    def optimizer(self, frozen_units: int) -> optim.Optimizer:
        """Freeze so many units and give the rest an optimiser, with a rate so small that nothing overflows."""
        self.network.freeze_to(frozen_units)
        asked = self.config.training.optimizer
        groups = parameter_groups(self.network.trainable_parts(), lr=1e-9, layer_decay=asked.layer_decay)
        return build_optimizer(asked.model_copy(update={"lr": 1e-9}), groups)

    def train_some(self, optimizer: optim.Optimizer) -> None:
        """Make a training step on a few images, whatever the config's batch size: for keeping a machine busy."""
        self.network.train()
        self._step.begin(self.network, optimizer)
        sample = self._sample(_IMAGES)
        self._step(sample.images, sample.targets)

    def saving(self, frozen_units: int, folder: Path) -> SaveTime:
        """Time writing the state after an epoch, in the folder `last` of `folder`."""
        optimizer = self.optimizer(frozen_units)
        self.train_some(optimizer)

        def seconds(*, durable: bool) -> float:
            began = time.perf_counter()
            save_checkpoint(folder / "last", self._checkpoint(optimizer), None, durable=durable)
            return time.perf_counter() - began

        seconds(durable=False)
        return SaveTime(frozen_units, seconds(durable=False), seconds(durable=True))

    def saving_best(self, folder: Path) -> float:
        """Time writing the model of a best epoch, in the folder `best` of `folder`."""
        names = tuple(map(str, range(self.classes)))
        (folder / "best").mkdir()
        began = time.perf_counter()
        save_model(folder / "best", self.network, self.config, classes=names, metric="-val_loss", score=0.0, epoch=1)
        return time.perf_counter() - began

    def _checkpoint(self, optimizer: optim.Optimizer) -> Checkpoint:
        phase = {"name": "train", "first_epoch": 1}
        moving, units, state = moving_state(self.network), self.network.frozen_units, optimizer.state_dict()
        still, step = frozen_digest(self.network, units), self._step.state()
        return Checkpoint(1, moving, units, still, state, schedule={}, stopping={}, phase=phase, history=[], step=step)

    def _sample(self, batch_size: int) -> _Sample:
        px = self.config.image.px
        shape = (batch_size,) if self.config.task == "classification" else (batch_size, px, px)
        # The permuted view is channels_last, as the batches of a trial are.
        images = torch.randn(batch_size, px, px, 3, device=self.device).permute(0, 3, 1, 2)
        return _Sample(images, torch.randint(self.classes, shape, device=self.device))


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
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    return ModelTimes(
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


def _bytes(output: object) -> int:
    if isinstance(output, Tensor):
        return output.numel() * output.element_size()
    return sum(map(_bytes, output)) if isinstance(output, list | tuple) else 0
