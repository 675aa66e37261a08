"""Read a space file and hold it against the backbones and transforms there are. No torch: a typo answers at once."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tune_cnn.config_shape import Location
from tune_cnn.errors import SpaceFileError
from tune_cnn.models.encoders import encoder_stride
from tune_cnn.models.trunk import model_faults, size_faults
from tune_cnn.sections.image import Policy
from tune_cnn.sections.model import Decoder, ModelConfig
from tune_cnn.space.checks import combinations
from tune_cnn.space.schema import Space, read_space


@dataclass(frozen=True)
class OpenedSpace:
    """A checked space, and every (backbone, weights) that it may draw."""

    space: Space
    backbones: tuple[tuple[str, str], ...]


def open_space(file: Path, *, overrides: Sequence[str] = (), data_root: str | Path | None = None) -> OpenedSpace:
    """Read and check a space file.

    Raises:
        SpaceFileError: every fault in it, a line each.
    """
    found: dict[tuple[str, str], None] = {}

    def check_backbone(model: ModelConfig) -> list[str]:
        found[model.backbone_name, model.weights] = None
        return model_faults(model)

    space = read_space(
        file,
        overrides=overrides,
        data_root=data_root,
        backbone_check=check_backbone,
        size_check=_size_faults,
        policy_check=_transform_faults,
    )
    _check_sizes(space)
    return OpenedSpace(space, tuple(found))


def _check_sizes(space: Space) -> None:
    """Hold every size of image against the lists of transforms that it may meet.

    Raises:
        SpaceFileError: a crop that is larger than the image.
    """
    faults: dict[str, None] = {}
    for drawn in combinations(space.root, ("augment", "image")):
        config = space.config(drawn.tree, seed=0, cpu_threads=1, weights_file=None)
        px = config.image.px
        if not isinstance(config.augment, str):
            for fault in _policy_faults(config.augment, px):
                faults[f"{space.path}: {fault} (on images of {px} px)"] = None
    if faults:
        raise SpaceFileError(faults)


def _size_faults(model: ModelConfig, px: int) -> list[tuple[Location, str]]:
    """Say where images of `px` do not suit a model, nor, where it has one, its decoder."""
    faults = size_faults(model, px)
    if faults or model.decoder is None or model_faults(model):
        return faults  # what is no encoder, or has no such unit, is told already
    return list(_decoder_faults(model.backbone_name, model.decoder, px))


@functools.lru_cache(maxsize=4096)
def _decoder_faults(backbone: str, decoder: Decoder, px: int) -> tuple[tuple[Location, str], ...]:
    if px % (stride := encoder_stride(backbone)):
        near = f"{px - px % stride} or {px - px % stride + stride}" if px > stride else str(stride)
        text = f"{px} is no multiple of {stride}, the stride of the encoder {backbone}; write {near}"
        return ((("image", "px"), text),)
    from tune_cnn.models.segmenter import segmenter_faults  # takes seconds: only segmentation pays for it

    return tuple((("model", "decoder"), fault) for fault in segmenter_faults(backbone, decoder, px))


def _policy_faults(policy: Policy, px: int) -> list[str]:
    from tune_cnn.data.augment import check_policy  # takes seconds: only a space that lists transforms pays for it

    return check_policy(policy, px)


def _transform_faults(policy: Policy) -> list[str]:
    """Check a list of one transform, whatever its place; the space knows where in the file it stands."""
    largest_px = 2048  # what fits no image of this size fits none; smaller ones are tried once their size is known
    return [fault.removeprefix("augment.0.") for fault in _policy_faults(policy, largest_px)]
