"""What every network is: a backbone as a line of units, of which a prefix stands still, and something on top."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor, nn

from tune_cnn.models.freeze import UnitLine
from tune_cnn.models.units import batch_norms, count_weights, hold_still, keep_asleep, units_of

Channels = tuple[float, float, float]
Inputs = Tensor | tuple[Tensor, ...]
"""What a network takes: images; the tail of one (see `tune_cnn.models.tail`) what the prefix gave, a map or several."""


@dataclass(frozen=True)
class BatchNormModes:
    """How many BatchNorm layers keep their running statistics while the model trains, and how many move them."""

    still: int
    live: int


class Network(nn.Module, ABC):
    """Normalised images in, logits out.

    Frozen units have no gradient and stay in eval mode whatever `train()` says. As neither the images nor a frozen
    unit ask for a gradient, autograd records nothing of the frozen prefix: it costs a forward pass and no memory.
    """

    def __init__(self, line: UnitLine, preprocessing: tuple[Channels, Channels]) -> None:
        """Begin with nothing frozen.

        Args:
            line: the units, as long as `units_of(trunk)`.
            preprocessing: mean and standard deviation of red, green, blue in [0, 1].
        """
        super().__init__()
        self.unit_line = line
        self.preprocessing = preprocessing
        self.frozen_units = 0

    @property
    @abstractmethod
    def trunk(self) -> nn.Module:
        """What is frozen by units: the backbone."""

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Give the logits, classes in the second axis, for (B, 3, H, W) images normalised by `preprocessing`."""

    @abstractmethod
    def features(self, images: Tensor) -> Inputs:
        """Give what stands on the trunk takes, for images as `forward` takes them."""

    @abstractmethod
    def take_features(self, images: Tensor) -> tuple[int, ...]:
        """Lose the trunk: from now on take what `features` gave, or as much of it as is needed, in place of images.

        Args:
            images: a few of those to come, from which may be seen of which shape the features are.

        Returns:
            The places of the features that are needed, at least one, rising.
        """

    @property
    @abstractmethod
    def gives(self) -> str:
        """A word for what of the trunk's output `features` gives."""

    @property
    @abstractmethod
    def can_be_cut_inside(self) -> bool:
        """Whether the trunk is a line through which one map goes, so that it can be cut between any two units."""

    @property
    @abstractmethod
    def least_batch(self) -> int:
        """The fewest images that a training step can take."""

    @abstractmethod
    def dropout(self) -> tuple[float, ...]:
        """Read the rates of the dropout layers on top of the backbone from the live modules, in order."""

    @abstractmethod
    def live_settings(self) -> Mapping[str, Any]:
        """Read from the live modules what the config says of them, by its dotted names."""

    @property
    def units(self) -> tuple[str, ...]:
        """The dotted names of the backbone's units, first to run first."""
        return tuple(name for name, _ in units_of(self.trunk))

    def freeze_to(self, units: int) -> None:
        """Freeze the first `units` units, and wake the others; what is on top always trains.

        Raises:
            ValueError: fewer than none, or more than the backbone has.
        """
        modules = self.unit_modules()
        if not 0 <= units <= len(modules):
            raise ValueError(f"{units} units to freeze, but the backbone has {len(modules)}")
        self.frozen_units = units
        hold_still(modules, units)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Switch to training or evaluation; frozen units stay in evaluation."""
        super().train(mode)
        keep_asleep(self.unit_modules()[: self.frozen_units])
        return self

    def parameter_counts(self) -> tuple[int, int]:
        """Count all weights, the running statistics of BatchNorm among them, and those that train: as Keras does."""
        return count_weights(self)

    def trainable_parts(self) -> list[list[nn.Parameter]]:
        """Give the parameters that train, unit by unit from the input on; at last those of no unit, on top."""
        units = [[one for one in unit.parameters() if one.requires_grad] for unit in self.unit_modules()]
        inside = {id(one) for unit in units for one in unit}
        top = [one for one in self.parameters() if one.requires_grad and id(one) not in inside]
        return [*filter(None, units), top]

    def batch_norm_modes(self) -> BatchNormModes:
        """Read from the live modules what each BatchNorm does when the model trains."""
        before = self.training
        self.train()
        live = sum(layer.training for layer in batch_norms(self))
        self.train(before)
        return BatchNormModes(still=len(batch_norms(self)) - live, live=live)

    def unit_modules(self) -> list[nn.Module]:
        """The backbone's units, first to run first."""
        return [module for _, module in units_of(self.trunk)]


def images_in(inputs: Inputs) -> int:
    """Count the images that a network's inputs are of."""
    return len(inputs[0] if isinstance(inputs, tuple) else inputs)


def single(inputs: Inputs) -> Tensor:
    """Give the one tensor that inputs are.

    Raises:
        TypeError: they are several maps.
    """
    if not isinstance(inputs, Tensor):
        raise TypeError(f"one tensor was expected, not {len(inputs)} maps")
    return inputs
