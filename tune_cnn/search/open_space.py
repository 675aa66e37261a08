"""Read a space file and hold it against the backbones and transforms there are. No torch: a typo answers at once."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tune_cnn.errors import SpaceFileError
from tune_cnn.models.catalogue import facts
from tune_cnn.models.encoders import encoder_stride, network_faults
from tune_cnn.sections.image import Policy
from tune_cnn.sections.model import Decoder, ModelConfig
from tune_cnn.space.checks import combinations
from tune_cnn.space.schema import Space, read_space


@dataclass(frozen=True)
class OpenedSpace:
    """A checked space, and every (backbone, weights) that it may draw."""

    space: Space
    backbones: tuple[tuple[str, str], ...]


def open_space(file: Path, *, overrides: Sequence[str] = (), data_root: Path | None = None) -> OpenedSpace:
    """Read and check a space file.

    Raises:
        SpaceFileError: every fault in it, a line each.
    """
    found: dict[tuple[str, str], None] = {}

    def check_backbone(model: ModelConfig) -> list[str]:
        found[model.backbone, model.weights] = None
        return network_faults(model)

    space = read_space(
        file, overrides=overrides, data_root=data_root, backbone_check=check_backbone, policy_check=_transform_faults
    )
    _check_sizes(space)
    return OpenedSpace(space, tuple(found))


def _check_sizes(space: Space) -> None:
    """Hold every size of image against the networks and the lists of transforms that it may meet.

    Raises:
        SpaceFileError: a network that cannot take images of a size, or a crop that is larger than the image.
    """
    faults: dict[str, None] = {}
    for drawn in combinations(space.root, ("augment", "image", "model.backbone", "model.decoder")):
        config = space.config(drawn.tree, seed=0, cpu_threads=1, weights_file=None)
        px, backbone = config.image.px, facts(config.model.backbone)
        if px < backbone.least_px:
            text = f"{px} px are too few for {backbone.name}; write {backbone.least_px} or more"
            faults[f"{space.path}: image.px: {text}"] = None
        for fault in _decoder_faults(backbone.name, config.model.decoder, px):
            faults[f"{space.path}: {fault}"] = None
        if not isinstance(config.augment, str):
            for fault in _policy_faults(config.augment, px):
                faults[f"{space.path}: {fault} (on images of {px} px)"] = None
    if faults:
        raise SpaceFileError(faults)


@functools.lru_cache(maxsize=4096)
def _decoder_faults(backbone: str, decoder: Decoder | None, px: int) -> tuple[str, ...]:
    if decoder is None:
        return ()
    if px % (stride := encoder_stride(backbone)):
        near = f"{px - px % stride} or {px - px % stride + stride}" if px > stride else str(stride)
        return (f"image.px: {px} is no multiple of {stride}, the stride of the encoder {backbone}; write {near}",)
    from tune_cnn.models.segmenter import segmenter_faults  # takes seconds: only segmentation pays for it

    return tuple(f"model.decoder: {fault}" for fault in segmenter_faults(backbone, decoder, px))


def _policy_faults(policy: Policy, px: int) -> list[str]:
    from tune_cnn.data.augment import check_policy  # takes seconds: only a space that lists transforms pays for it

    return check_policy(policy, px)


def _transform_faults(policy: Policy) -> list[str]:
    """Check a list of one transform, whatever its place; the space knows where in the file it stands."""
    largest_px = 2048  # what fits no image of this size fits none; smaller ones are tried once their size is known
    return [fault.removeprefix("augment.0.") for fault in _policy_faults(policy, largest_px)]
