"""What is left of a backbone below its head: its units, what comes out, how much stands still. Without torch.

A head on pooled features takes the whole network; `model.stages`, a `flat` head and one with convolutions take the map
before the pooling of all pixels, and what would come after it is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tune_cnn.config_shape import Location
from tune_cnn.errors import SpaceFileError
from tune_cnn.models.catalogue import facts
from tune_cnn.models.encoders import units_below
from tune_cnn.models.freeze import UnitLine, frozen_units, stage_ends
from tune_cnn.models.layer_plan import ShapeError, line_of, size_after
from tune_cnn.sections.layers import ConvLayer, CustomBackbone
from tune_cnn.sections.model import ModelConfig


@dataclass(frozen=True)
class Trunk:
    """A backbone as far as a model keeps it."""

    name: str
    """For messages."""
    line: UnitLine
    channels: int
    """Of what the head gets."""
    gives_map: bool
    """Whether the head gets the map, (B, channels, h, w), or pooled features, (B, channels)."""


def trunk_of(model: ModelConfig) -> Trunk:
    """Say what a model keeps of its backbone.

    Raises:
        SpaceFileError: no such backbone, more stages than it has, a stage after which it cannot be cut, or a backbone
            that cannot be an encoder below a decoder.
    """
    if isinstance(model.backbone, CustomBackbone):
        layers = model.backbone.layers
        return Trunk("the custom backbone", line_of(layers), layers[-1].conv, model.head.takes_map)
    known = facts(model.backbone)
    if model.decoder is not None:
        return Trunk(known.name, units_below(model.decoder, model.backbone), known.features, gives_map=True)
    if model.stages is None and not model.head.takes_map:
        return Trunk(known.name, known.line, known.features, gives_map=False)
    ends = stage_ends(known.line.first(known.map_units))
    stages = len(ends) if model.stages is None else model.stages
    if stages > len(ends):
        raise SpaceFileError(f"stages: {stages} are more than {known.name} has; write {len(ends)} at most, or null")
    channels = known.stage_channels[stages - 1]
    if not channels:
        possible = [str(stage) for stage, width in enumerate(known.stage_channels, start=1) if width]
        raise SpaceFileError(
            f"stages: {known.name} cannot be cut after its stage {stages}; "
            f"write {' or '.join(possible) or 'another backbone'}, or null"
        )
    return Trunk(known.name, known.line.first(ends[stages - 1]), channels, gives_map=True)


def frozen_units_of(model: ModelConfig) -> int:
    """Give how many units of the model's trunk stand still: all below a linear baseline, else as `freeze` says.

    Raises:
        SpaceFileError: as `trunk_of`.
        ValueError: the depth lies beyond the trunk.
    """
    trunk = trunk_of(model)
    return len(trunk.line) if model.head.kind != "dense" else frozen_units(model.freeze, trunk.line, trunk.name)


def model_faults(model: ModelConfig) -> list[str]:
    """Say what no backbone can do: unknown names, stages it has not, a freeze depth beyond it.

    Returns:
        A line each, without place; empty if the model can be built.
    """
    try:
        frozen_units_of(model)
    except SpaceFileError as error:
        return list(error.faults)
    except ValueError as error:
        return [str(error)]
    return []


def size_faults(model: ModelConfig, px: int) -> list[tuple[Location, str]]:
    """Say where square images of `px` are too small for a model; for backbones with a name as far as known untried.

    Returns:
        A place in the config and a text each; empty if they are large enough, or if the backbone itself is unknown.
    """
    faults: list[tuple[Location, str]] = []
    if isinstance(model.backbone, CustomBackbone):
        map_px = _checked(model.backbone.layers, px, ("model", "backbone", "layers"), faults)
    else:
        try:
            known, trunk = facts(model.backbone), trunk_of(model)
        except SpaceFileError:
            return []
        if px < known.least_px:
            text = f"{px} px are too few for {known.name}; write {known.least_px} or more"
            return [(("image", "px"), text)]
        # Networks pad so that a size is halved and rounded up; the few that do not are measured when they are built.
        map_px = -(-px // max(trunk.line.strides))
    if map_px is not None:
        _checked(model.head.convolutions, map_px, ("model", "head", "convolutions"), faults)
    return faults


def _checked(layers: Sequence[ConvLayer], px: int, place: Location, faults: list[tuple[Location, str]]) -> int | None:
    try:
        return size_after(layers, px)
    except ShapeError as error:
        faults.append(((*place, error.layer), f"{error} (of images of {px} px)"))
        return None
