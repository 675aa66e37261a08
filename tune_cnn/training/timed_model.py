"""One network in the state of a training run, with random weights, whose parts can be timed one by one."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn, optim

from tune_cnn.config import TrialConfig
from tune_cnn.data.cache import Cache
from tune_cnn.models.build import build_network
from tune_cnn.models.network import Network
from tune_cnn.models.saved import save_model
from tune_cnn.models.tail import still_units
from tune_cnn.models.units import units_of
from tune_cnn.training.batches import Batches, best_device
from tune_cnn.training.checkpoint import Checkpoint, frozen_digest, moving_state, save_checkpoint
from tune_cnn.training.cut_choice import cut_for
from tune_cnn.training.features import Setting
from tune_cnn.training.ladder import Ladder, find_ladder
from tune_cnn.training.objective import objective_for
from tune_cnn.training.precision import precision_for
from tune_cnn.training.schedule import build_optimizer, parameter_groups
from tune_cnn.training.step import TrainStep
from tune_cnn.training.times import SaveTime, StepTime
from tune_cnn.training.watch import Watch

_SOME = 8
"""Images, where their number is of no account."""


@dataclass(frozen=True)
class _Sample:
    """Random images and targets on the device."""

    images: Tensor
    targets: Tensor


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
        self._cache = cache

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

    def ladder(self) -> Ladder:
        """Find where trials of this network keep features on this machine, as the first of them would."""
        px = self.config.image.px
        pixels = np.random.default_rng(0).integers(0, 256, (_SOME, px, px, 3), np.uint8)
        labels, preprocessing = np.zeros(_SOME, np.int64), self.network.preprocessing
        view = Batches.of(pixels, labels, batch_size=_SOME, preprocessing=preprocessing, device=self.device)
        setting = Setting(self.config.model.backbone_name, px, self.device, self._step.precision)
        return find_ladder(self.network, setting, view, self._cache)

    def cuts(self, ladder: Ladder) -> tuple[int, ...]:
        """Say after which unit features are kept, 0 for none, while 0, 1, 2, … up to all units are frozen."""
        found = []
        for frozen in range(len(self.units) + 1):
            self.network.freeze_to(frozen)
            found.append(cut_for(still_units(self.network), ladder.costs, ladder.rungs) or 0)
        return tuple(found)

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
        sample = self._sample(_SOME)
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


def _bytes(output: object) -> int:
    if isinstance(output, Tensor):
        return output.numel() * output.element_size()
    return sum(map(_bytes, output)) if isinstance(output, list | tuple) else 0
