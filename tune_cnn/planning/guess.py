"""What a network costs, guessed from what is known of it without running it. Good for ratios, not for seconds.

Networks that were not measured are priced by their guess times what the measured ones took over theirs. The forward
pass of a network from scratch is counted in multiplications; for one with a name its parameters and the number of
pixels stand in, spread evenly over its units.
"""

import statistics
from collections.abc import Sequence

from tune_cnn.config import TrialConfig
from tune_cnn.models.catalogue import facts
from tune_cnn.models.layer_plan import size_after, unrolled
from tune_cnn.models.trunk import trunk_of
from tune_cnn.sections.layers import ConvLayer, CustomBackbone
from tune_cnn.training.times import ModelTimes

_NANOSECONDS = 1e-9
"""Seconds for a multiplication: any will do, as guesses are scaled."""
_MULTIPLICATIONS_PER_PARAMETER = 150.0
"""Per image of 224 px: by published counts about 170 in ResNets, a third of that in MobileNets, some 1,000 in VGGs."""
_BYTES_PER_FLOAT = 4
_RGB = 3


def guessed_times(config: TrialConfig) -> ModelTimes:
    """Guess the times of a network; of what it writes and needs in memory nothing is said.

    Raises:
        SpaceFileError: no such backbone.
    """
    px, model = config.image.px, config.model
    if isinstance(model.backbone, CustomBackbone):
        units, maps = _of_layers(model.backbone.layers, px)
    else:
        trunk, known = trunk_of(model), facts(model.backbone)
        share = len(trunk.line) / len(known.line) if model.decoder is None else 1.0
        whole = known.parameters * share * _MULTIPLICATIONS_PER_PARAMETER * (px / 224) ** 2 * _NANOSECONDS
        units = [whole / len(trunk.line)] * len(trunk.line)
        maps = [px * px * _RGB * _BYTES_PER_FLOAT] * (len(trunk.line) - 1) + [trunk.channels * _BYTES_PER_FLOAT]
    top = sum(units) * (0.01 if model.decoder is None else 1.0)  # a decoder costs about as much as its encoder
    # No features are taken to be worth keeping but those that the head gets.
    cuts = (*[0] * len(units), 0 if model.head.takes_map else len(units))
    return ModelTimes(tuple(units), top, tuple(maps), cuts)


def scale_of(measured: Sequence[tuple[ModelTimes, ModelTimes]]) -> float:
    """Give what measured networks took over what was guessed, in the median of pairs (measured, guessed), not empty."""
    return statistics.median(times.forward_seconds / guess.forward_seconds for times, guess in measured)


def _of_layers(layers: Sequence[ConvLayer], px: int) -> tuple[list[float], list[int]]:
    """Count each layer's multiplications, as seconds, and its map's bytes."""
    seconds, maps, channels = [], [], _RGB
    for planned in unrolled(layers):
        layer = planned.layer.model_copy(update={"repeat": 1})
        before_pooling = size_after([layer.model_copy(update={"pool": None})], px)
        px = size_after([layer], px)
        seconds.append(layer.kernel**2 * channels * layer.conv * before_pooling**2 * _NANOSECONDS)
        maps.append(layer.conv * px * px * _BYTES_PER_FLOAT)
        channels = layer.conv
    return seconds, maps
