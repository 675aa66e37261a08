"""What comes of written-out layers: sizes, channels, units. Without torch, so that a space is checked fast."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tune_cnn.models.freeze import UnitLine
from tune_cnn.sections.layers import ConvLayer


class ShapeError(Exception):
    """A layer does not fit what is left of the image; the text names the sizes, `layer` the place."""

    def __init__(self, layer: int, text: str) -> None:
        self.layer = layer
        """Its position in the list as written, from 0."""
        super().__init__(text)


@dataclass(frozen=True)
class PlannedLayer:
    """A layer of the list, once for each time it is repeated."""

    layer: ConvLayer
    position: int
    """In the list as written, from 0."""


def unrolled(layers: Sequence[ConvLayer]) -> Iterator[PlannedLayer]:
    """Give every layer as often as it is repeated, first to run first."""
    for position, layer in enumerate(layers):
        for _ in range(layer.repeat):
            yield PlannedLayer(layer, position)


def padding_px(layer: ConvLayer) -> int:
    """Give the pixels added on each side; right and below an even kernel with `same` needs one more."""
    if isinstance(layer.padding, int):
        return layer.padding
    return (layer.kernel - 1) // 2 if layer.padding == "same" else 0


def size_after(layers: Sequence[ConvLayer], size_px: int) -> int:
    """Give the height and width of the map that square images of `size_px` become.

    Raises:
        ShapeError: a kernel or a pooling is larger than what is left when its turn comes.
    """
    for planned in unrolled(layers):
        size_px = _size_after(planned, size_px)
    return size_px


def _size_after(planned: PlannedLayer, size_px: int) -> int:
    layer = planned.layer
    if layer.padding == "same":
        size = -(-size_px // layer.stride)
    else:
        padded = size_px + 2 * padding_px(layer)
        if padded < layer.kernel:
            raise ShapeError(
                planned.position,
                f"kernel {layer.kernel} of conv {layer.conv} is larger than the {size_px} x {size_px} px that are left "
                f"for it; write kernel: {padded} at most, padding: same, or pool less before",
            )
        size = (padded - layer.kernel) // layer.stride + 1
    if layer.pool is None:
        return size
    if size < layer.pool:
        raise ShapeError(
            planned.position,
            f"pool {layer.pool} after conv {layer.conv} is larger than the {size} x {size} px that are left for it; "
            "write pool: null, or pool less before",
        )
    return size // layer.pool


def line_of(layers: Sequence[ConvLayer]) -> UnitLine:
    """Give the line of a network of these layers: each is a unit, its stride the product of all steps so far."""
    counts: list[int] = []
    strides: list[int] = []
    stride = 1
    for planned in unrolled(layers):
        stride *= planned.layer.stride * (planned.layer.pool or 1)
        counts.append(1 + planned.layer.batch_norm)
        strides.append(stride)
    return UnitLine(tuple(counts), tuple(strides))
