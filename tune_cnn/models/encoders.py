"""Which backbones can be encoders of segmentation networks: read from `encoders.csv`, made by `make backbones`.

As an encoder a backbone gives its feature maps of several strides and loses its tail, so its line of units is shorter.
"""

import csv
import functools
from collections.abc import Mapping
from importlib.resources import files

from tune_cnn.errors import SpaceFileError
from tune_cnn.models.catalogue import facts, line_from_text
from tune_cnn.models.freeze import UnitLine
from tune_cnn.sections.model import Decoder

COLUMNS = ("name", "units")
TABLE = files("tune_cnn.models") / "encoders.csv"
# Decoders that use no feature map coarser than this, and so no unit behind it.
_COARSEST_STRIDE: Mapping[Decoder, int] = {"pspnet": 8}


def encoder_line(backbone: str) -> UnitLine:
    """Give the units that a backbone keeps as an encoder.

    Args:
        backbone: a name of the catalogue, with or without a tag.

    Raises:
        SpaceFileError: no such backbone, or one that cannot be an encoder.
    """
    architecture = facts(backbone).architecture
    units = _rows().get(architecture)
    if units is None:
        raise SpaceFileError(
            f"{architecture} cannot be the encoder of a segmentation network, its feature maps are not each half the "
            "size of the one before; write another, such as tf_efficientnet_lite0 or resnet50"
        )
    return line_from_text(units)


def units_below(decoder: Decoder, backbone: str) -> UnitLine:
    """Give the units of a backbone that a decoder needs.

    Raises:
        SpaceFileError: no such backbone, or no such encoder.
    """
    whole = encoder_line(backbone)
    coarsest = _COARSEST_STRIDE.get(decoder, max(whole.strides))
    kept = sum(stride <= coarsest for stride in whole.strides)
    return UnitLine(whole.weight_layers[:kept], whole.strides[:kept])


def encoder_stride(backbone: str) -> int:
    """Give what both sides of an image must be multiples of.

    Raises:
        SpaceFileError: no such backbone, or no such encoder.
    """
    return max(encoder_line(backbone).strides)


@functools.cache
def _rows() -> dict[str, str]:
    with TABLE.open(encoding="utf-8") as file:
        return {row["name"]: row["units"] for row in csv.DictReader(file)}
