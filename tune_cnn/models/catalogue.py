"""What is known of each backbone without importing torch or timm: read from `backbones.csv`, made by `make backbones`.

A space file can so be checked in milliseconds: names, freeze depths, weights that exist at all.
"""

import csv
import difflib
import fnmatch
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from tune_cnn.errors import SpaceFileError
from tune_cnn.invocation import program
from tune_cnn.models.freeze import UnitLine

COLUMNS = ("name", "parameters", "features", "px", "least_px", "weights", "units", "map_units", "stage_channels")
_MOST_SHOWN = 80  # characters of a name that is none
TABLE = files("tune_cnn.models") / "backbones.csv"
# The same networks under the names that smp and torchvision give them; see docs/decisions/0007.
OTHER_NAMES: Mapping[str, str] = {
    "inceptionresnetv2": "inception_resnet_v2",
    "inceptionv4": "inception_v4",
    "mobilenet_v2": "mobilenetv2_100",
    "se_resnet50": "legacy_seresnet50",
    "se_resnet101": "legacy_seresnet101",
    "se_resnet152": "legacy_seresnet152",
    "se_resnext50_32x4d": "legacy_seresnext50_32x4d",
    "se_resnext101_32x4d": "legacy_seresnext101_32x4d",
    "xception": "legacy_xception",
}


@dataclass(frozen=True)
class BackboneFacts:
    """One row of the table: a convolutional network of timm."""

    name: str
    """As timm knows it, with the tag of its weights if one was written."""
    architecture: str
    """Without a tag."""
    tags: tuple[str, ...]
    """Pretrained weights on the model hub, timm's default first; empty if there are none as safetensors."""
    hub_id: str | None
    """Where on the model hub the weights of the written (or first) tag are; None if there are none."""
    parameters: int
    """Without a classifier; the running statistics of BatchNorm count, as in Keras."""
    features: int
    """Width of the pooled output."""
    px: int
    """Input size it was made for."""
    least_px: int
    """Smallest of the tried input sizes that it can take."""
    line: UnitLine
    map_units: int
    """How many of the units run before the pooling of all pixels."""
    stage_channels: tuple[int, ...]
    """Channels of the map after each stage (see `tune_cnn.models.freeze.stage_ends`); 0 where it cannot be cut."""


def facts(name: str) -> BackboneFacts:
    """Look a backbone up by its timm name, with or without a tag (`resnet50`, `resnet50.a1_in1k`).

    A few names of other libraries are taken, too (`OTHER_NAMES`).

    Raises:
        SpaceFileError: no such backbone, or no such tag; with the nearest names.
    """
    name = OTHER_NAMES.get(name, name)
    architecture, dot, tag = name.partition(".")
    row = _rows().get(architecture)
    if row is None:
        raise SpaceFileError(_unknown(name, architecture))
    weights = _weights(row)
    if dot and tag not in weights:
        raise SpaceFileError(_unknown_tag(name, architecture, tuple(weights)))
    return BackboneFacts(
        name=name,
        architecture=architecture,
        tags=tuple(weights),
        hub_id=weights[tag] if dot else next(iter(weights.values()), None),
        parameters=int(row["parameters"]),
        features=int(row["features"]),
        px=int(row["px"]),
        least_px=int(row["least_px"]),
        line=line_from_text(row["units"]),
        map_units=int(row["map_units"]),
        stage_channels=tuple(map(int, row["stage_channels"].split())),
    )


def is_backbone(name: str) -> bool:
    """Whether a name, with or without a tag, is that of a backbone; a wrong tag is a matter for `facts`."""
    return name.partition(".")[0] in _rows()


def no_model(name: str) -> str:
    """Say what to write in the place of a name that is neither a model folder nor a backbone."""
    near = () if "/" in name else nearest(name)
    ways = f"the backbone {' or '.join(near)}" if near else f"a backbone of `{program()} backbones`"
    return f"{name}: no such folder; give a model folder such as runs/NAME/best, or {ways}"


def known_backbones() -> tuple[str, ...]:
    """Give all names in the table, without tags, in the order that a person would sort them."""
    return tuple(_rows())


def nearest(name: str, count: int = 3) -> tuple[str, ...]:
    """Give up to `count` known names that resemble `name`, most alike first; none if nothing does."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    starting = [each for each in known_backbones() if plain and each.replace("_", "").startswith(plain)]
    # Of `lite0` to `lite4` the first is the likeliest, of `_035` to `_140` the width that papers mean.
    starting.sort(key=lambda each: (len(each), not each.endswith("_100")))
    alike = difflib.get_close_matches(name.lower(), known_backbones(), n=count, cutoff=0.6)
    return tuple(dict.fromkeys((*starting, *alike)))[:count]


def find(pattern: str = "*") -> tuple[BackboneFacts, ...]:
    """Give the backbones whose name matches a shell pattern, or contains the text if it holds no `*`, `?` or `[`."""
    glob = pattern.lower() if re.search(r"[*?\[]", pattern) else f"*{pattern.lower()}*"
    return tuple(facts(name) for name in known_backbones() if fnmatch.fnmatchcase(name, glob))


def line_to_text(line: UnitLine) -> str:
    """Write a line of units: weight layers each, `@stride` where it changes: `1@2 0 3 3@4`."""
    before = (None, *line.strides)
    units = zip(line.weight_layers, line.strides, before, strict=False)
    return " ".join(f"{layers}" if stride == last else f"{layers}@{stride}" for layers, stride, last in units)


def line_from_text(text: str) -> UnitLine:
    """Read what `line_to_text` wrote."""
    layers, strides = [], []
    stride = ""
    for unit in text.split():
        count, _, changed = unit.partition("@")
        stride = changed or stride
        layers.append(int(count))
        strides.append(int(stride))
    return UnitLine(tuple(layers), tuple(strides))


def weights_to_text(architecture: str, weights: Mapping[str, str]) -> str:
    """Write tags with their places on the hub, `tag` or, where it is not timm's own, `tag=place`."""
    usual = {tag: f"timm/{architecture}.{tag}" for tag in weights}
    return " ".join(tag if weights[tag] == usual[tag] else f"{tag}={weights[tag]}" for tag in weights)


def _weights(row: Mapping[str, str]) -> dict[str, str]:
    parts = [text.partition("=") for text in row["weights"].split()]
    return {tag: place or f"timm/{row['name']}.{tag}" for tag, _, place in parts}


@functools.cache
def _rows() -> dict[str, dict[str, str]]:
    with TABLE.open(encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def _unknown(name: str, architecture: str) -> str:
    near = nearest(architecture)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"`{program()} backbones` lists all"
    shown = name if len(name) <= _MOST_SHOWN else f"{name[:_MOST_SHOWN]}…"
    return f"unknown backbone {shown!r}; {hint}"


def _unknown_tag(name: str, architecture: str, tags: tuple[str, ...]) -> str:
    written = name.partition(".")[2]
    near = difflib.get_close_matches(written, tags, n=1) or tags[:1]
    hint = f"write {architecture}.{near[0]}, or {architecture} alone" if near else f"write {architecture} alone"
    return f"{architecture} has no weights tagged {written!r}; {hint}"
