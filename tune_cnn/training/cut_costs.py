"""What the units of a network and the reading of its features cost on this machine: one short measured pass."""

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from tune_cnn import progress
from tune_cnn.models.cut import InexactCutError
from tune_cnn.models.network import Network
from tune_cnn.models.tail import cut_network
from tune_cnn.training.batches import Batches
from tune_cnn.training.cut_choice import Costs
from tune_cnn.training.features import Form, Setting

IMAGES = 16
_REPEATS = 5
_ROWS = 2048
_ROW_BYTES = 2**14


def measure_costs(model: Network, view: Batches, setting: Setting) -> Costs:
    """Run a few images of a view through a network, and read random rows of memory as features are read.

    Of several runs the shortest counts: what else the machine does only ever adds to the time. Leaves the model in the
    mode it was in.

    Args:
        model: any of it may be frozen.
        view: one image at least.
        setting: with what it computes; the caller has entered its context.
    """
    places = np.arange(min(IMAGES, len(view.labels)))
    device = setting.device
    reading = _shortest(lambda: view.source.fetch(places), device)
    images = setting.arranged(view.sample(IMAGES))
    training = model.training
    model.eval()
    try:
        runs = [UnitTimes(model, device).run(images) for _ in range(_REPEATS)]
    finally:
        model.train(training)
    sizes = runs[0].sizes_bytes if model.can_be_cut_inside else [None] * len(model.units)
    return Costs(
        seconds=tuple(min(times) / len(images) for times in zip(*(run.seconds for run in runs), strict=True)),
        sizes_bytes=(*sizes[:-1], _top_bytes(model, images)),
        image_bytes=int(np.prod(images.shape[1:])),
        image_seconds=reading / len(images),
        seconds_per_byte=_read_seconds(device) / (_ROWS * _ROW_BYTES),
    )


class UnitTimes:
    """How long each unit of a network took in one pass, and how much it gave per image."""

    def __init__(self, model: Network, device: torch.device) -> None:
        self.seconds = [0.0] * len(model.units)
        self.sizes_bytes: list[int | None] = [None] * len(model.units)
        self._model = model
        self._device = device
        self._last = 0.0

    @torch.inference_mode()
    def run(self, images: Tensor) -> "UnitTimes":
        """Pass (B, 3, H, W) through; what runs between two units counts for the later one, at the end for the last."""
        units = self._model.unit_modules()
        hooks = [unit.register_forward_hook(self._noted(place, len(images))) for place, unit in enumerate(units)]
        try:
            self._last = now(self._device)
            self._model.features(images)
            self.seconds[-1] += now(self._device) - self._last
        finally:  # memory may not suffice, and then the model is trained all the same
            for hook in hooks:
                hook.remove()
        return self

    def _noted(self, place: int, images: int) -> Callable[..., None]:
        def note(_unit: nn.Module, _inputs: object, output: object) -> None:
            progress.sign()
            time_now = now(self._device)
            self.seconds[place] += time_now - self._last
            self._last = time_now
            if isinstance(output, Tensor):
                self.sizes_bytes[place] = output.numel() * output.element_size() // images

        return note


def now(device: torch.device) -> float:
    """Give the time in seconds once the device has done all it was told.

    On a CPU the time that this process was given: other trials beside it would be measured too.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time() / torch.get_num_threads()


def _top_bytes(model: Network, images: Tensor) -> int | None:
    """What stands on the whole backbone takes, per image; None where the network cannot be cut at all."""
    try:
        cut = cut_network(model, len(model.units), images)
    except InexactCutError:
        return None
    return sum(Form.of(tensor).size_bytes for tensor in cut.activation(images))


def _read_seconds(device: torch.device) -> float:
    """Time to gather rows from all over an array, as features are read, and bring them to the device."""
    array = np.ones((_ROWS, _ROW_BYTES), np.uint8)
    order = np.random.default_rng(0).permutation(_ROWS)
    return _shortest(lambda: torch.from_numpy(array.take(order, axis=0)).to(device), device)


def _shortest(work: Callable[[], object], device: torch.device) -> float:
    times = []
    for _ in range(_REPEATS):
        began = now(device)
        work()
        times.append(now(device) - began)
    return min(times)
