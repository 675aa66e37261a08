"""How deep a backbone is frozen: from what the config says to a number of units. Pure Python, no torch.

A backbone is a line of units: `nn.Sequential` containers are opened recursively, every other child is one unit, in the
order they run (see `tune_cnn.models.units`). Frozen is always a prefix of the line.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tune_cnn.sections.model import Freeze


@dataclass(frozen=True)
class UnitLine:
    """A backbone as a line of units, first to run first; both tuples are equally long."""

    weight_layers: tuple[int, ...]
    """Per unit, how many of its modules (itself included) hold parameters of their own."""
    strides: tuple[int, ...]
    """Input pixels per output pixel after each unit; pooling to a single pixel does not count."""

    def __post_init__(self) -> None:
        if len(self.weight_layers) != len(self.strides):
            raise ValueError(f"{len(self.weight_layers)} weight layer counts, but {len(self.strides)} strides")

    def __len__(self) -> int:
        return len(self.weight_layers)

    def first(self, units: int) -> "UnitLine":
        """Give the line of the first `units` units."""
        return UnitLine(self.weight_layers[:units], self.strides[:units])


def stage_ends(line: UnitLine) -> tuple[int, ...]:
    """Cut a line into stages: runs of units at one resolution, the pooling that ends a run included.

    A stage begins with the unit with weights that lowers the resolution (as in ResNets), or after the unit without
    weights that does (the pooling that closes each block of a VGG); units before the first weights begin none. So
    ResNet-50 has five: the stem with its pooling, and its four groups of blocks.

    Args:
        line: the units that make the map; what comes after the pooling of all pixels is no stage.

    Returns:
        How many units there are up to the end of each stage, rising, the last one all; empty for an empty line.
    """
    ends: list[int] = []
    weights, before = 0, 1
    for unit, (layers, stride) in enumerate(zip(line.weight_layers, line.strides, strict=True)):
        end = unit if layers else unit + 1
        # Weights that lead to this end: a stage without any would be no stage.
        if stride > before and weights and end < len(line):
            ends.append(end)
            weights = 0
        weights += layers
        before = max(before, stride)
    return (*ends, len(line)) if len(line) else ()


def frozen_units(freeze: Freeze, line: UnitLine, backbone: str) -> int:
    """Resolve a freeze depth, however written, to the number of units that stand still.

    Args:
        freeze: what the config says; nothing written freezes nothing.
        line: the backbone's units.
        backbone: its name, for messages.

    Returns:
        0 (all trains) to `len(line)` (only the head trains).

    Raises:
        ValueError: the depth lies beyond the backbone; the text says what can be written instead.
    """
    if freeze.depth is not None:
        return round(freeze.depth * len(line))
    if freeze.last_units is not None:
        return _before_last_units(freeze.last_units, line, backbone)
    if freeze.last_layers is not None:
        return _before_last_layers(freeze.last_layers, line, backbone)
    if freeze.stride is not None:
        return _before_stride(freeze.stride, line, backbone)
    return 0


def _before_last_units(last: int, line: UnitLine, backbone: str) -> int:
    if last > len(line):
        raise ValueError(
            f"{last} units to train, but {backbone} has only {len(line)}; "
            f"write last_units: {len(line)} at most, or a depth between 0 and 1"
        )
    return len(line) - last


def _before_last_layers(last: int, line: UnitLine, backbone: str) -> int:
    """Units are never torn: the unit that holds the first of the layers to train trains as a whole."""
    total = sum(line.weight_layers)
    if last > total:
        raise ValueError(
            f"{last} layers to train, but {backbone} has only {total} with weights; "
            f"write last_layers: {total} at most, or a depth between 0 and 1"
        )
    trained, units = 0, len(line)
    while trained < last:
        units -= 1
        trained += line.weight_layers[units]
    return units


def _before_stride(stride: int, line: UnitLine, backbone: str) -> int:
    for units, reached in enumerate(line.strides):
        if reached >= stride:
            return units
    raise ValueError(
        f"frozen up to stride {stride}, but {backbone} has only {_list(line.strides)}; "
        f"write a smaller stride, or a depth between 0 and 1"
    )


def _list(strides: Sequence[int]) -> str:
    known = sorted(set(strides))
    return f"stride{'s' if len(known) > 1 else ''} {', '.join(map(str, known))}"
