"""Make `backbones.csv`: which networks of timm are convolutional and lines of units (`make backbones`, 15 minutes).

Every network is built without memory (torch's meta device) and run once; hooks tell which units run, in which order,
and what comes out. A network whose units do not each run once, in the order they are registered, cannot be frozen by
depth and is left out, with the reason printed.
"""

import argparse
import csv
import io
import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tune_cnn.files import write_whole
from tune_cnn.models.catalogue import COLUMNS, TABLE, line_to_text, weights_to_text
from tune_cnn.models.classifier import create_backbone
from tune_cnn.models.cut import cut_after, feature_map
from tune_cnn.models.freeze import UnitLine, stage_ends
from tune_cnn.models.units import count_weights, units_of, weight_layers
from tune_cnn.models.weights import architectures, hub_places

# Class names of layers through which pixels attend to each other, or that read an image as a sequence.
_ATTENTION = re.compile(r"Attention|Attn|SHMA|SHSA|LiteMLA|LSTM")
# Gates over channels and branches are named after attention but are part of a CNN.
_GATES = frozenset({"SplitAttn", "SelectiveKernelAttn"})
_PX_TRIED = (16, 32, 48, 64, 80, 96, 128, 160, 224)


class LeftOutError(Exception):
    """Why a network is not in the table."""


def row_for(name: str) -> dict[str, str]:
    """Look at one network and write its row.

    Raises:
        LeftOutError: it is not a convolutional network in a line of units, or timm cannot build or run it so.
    """
    try:
        with torch.device("meta"), torch.no_grad():
            backbone = create_backbone(name).eval()
            return _row(name, backbone)
    except (AssertionError, AttributeError, ImportError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise LeftOutError(f"timm cannot build or run it so: {type(error).__name__}: {str(error)[:100]}") from error


def _row(name: str, backbone: nn.Module) -> dict[str, str]:
    settings: dict[str, Any] = backbone.pretrained_cfg  # type: ignore[assignment]
    channels, px = settings["input_size"][0], settings["input_size"][-1]
    if channels != 3:
        raise LeftOutError(f"takes {channels} channels")
    _refuse_attention(backbone)
    line, outputs = trace(backbone, px)
    _refuse_other_features(backbone, px)
    row = {
        "name": name,
        "parameters": str(count_weights(backbone)[0]),
        "features": str(outputs[-1].shape[1]),
        "px": str(px),
        "least_px": str(_least_px(backbone, px)),
        "weights": weights_to_text(name, hub_places(name)),
        "units": line_to_text(line),
    }
    map_units = _map_units(backbone, px)
    # The last column, for it takes the network to pieces.
    stages = _stage_channels(backbone, px, stage_ends(line.first(map_units)), outputs)
    return row | {"map_units": str(map_units), "stage_channels": " ".join(map(str, stages))}


def _map_units(backbone: nn.Module, px: int) -> int:
    """Count the units that run before the pooling of all pixels."""
    ran = 0

    def note(*_: Any) -> None:
        nonlocal ran
        ran += 1

    hooks = [module.register_forward_hook(note) for _, module in units_of(backbone)]
    feature_map(backbone, torch.zeros(1, 3, px, px))
    for hook in hooks:
        hook.remove()
    return ran


def _stage_channels(backbone: nn.Module, px: int, ends: Sequence[int], outputs: Sequence[Any]) -> list[int]:
    """Give the channels of the map after each stage; 0 where the network cannot be cut. Leaves little of it."""
    image = torch.zeros(1, 3, px, px)
    expected = [outputs[end - 1] for end in ends[:-1]] + [feature_map(backbone, image)]
    channels: list[int] = []
    # From the last stage to the first, each time a little less is left of the network.
    for end, output in zip(reversed(ends), reversed(expected), strict=True):
        cut_after(backbone, end)
        try:
            left = feature_map(backbone, image)
        except (AssertionError, AttributeError, IndexError, RuntimeError, TypeError, ValueError):
            channels.append(0)
            continue
        exact = (
            isinstance(left, Tensor) and isinstance(output, Tensor) and left.ndim == 4 and left.shape == output.shape
        )
        channels.append(left.shape[1] if exact else 0)
    return channels[::-1]


def _refuse_attention(backbone: nn.Module) -> None:
    kinds = {type(module).__name__ for module in backbone.modules()} - _GATES
    if attends := sorted(kind for kind in kinds if _ATTENTION.search(kind)):
        raise LeftOutError(f"not purely convolutional: {', '.join(attends)}")


def _refuse_other_features(backbone: nn.Module, px: int) -> None:
    forward_features: Callable[[Tensor], Any] = backbone.forward_features  # type: ignore[assignment]
    features = forward_features(torch.zeros(1, 3, px, px))
    if not isinstance(features, Tensor) or features.ndim != 4 or features.shape[2] != features.shape[3]:
        raise LeftOutError("its features are no (B, C, H, W) map")


def trace(backbone: nn.Module, px: int) -> tuple[UnitLine, list[Any]]:
    """Run a network once and see its units go by.

    Args:
        backbone: without a classifier, in eval mode, on any device that is the default one.
        px: input height and width.

    Returns:
        Its line of units; what each of them gave, and at last the network's output, (1, features).

    Raises:
        LeftOutError: the units do not each run once, in the order they are registered; or the output is no (1, C).
    """
    line, outputs = trace_line(backbone, px)
    if not isinstance(outputs[-1], Tensor) or outputs[-1].ndim != 2:
        raise LeftOutError("its output is no (B, C)")
    return line, outputs


def trace_line(network: nn.Module, px: int) -> tuple[UnitLine, list[Any]]:
    """Run a network once and give its line of units; what each of them gave, and at last whatever the network puts out.

    Raises:
        LeftOutError: the units do not each run once, in the order they are registered.
    """
    units = units_of(network)
    order: list[str] = []
    strides: list[int] = []
    outputs: list[Any] = []

    def note(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            order.append(name)
            outputs.append(output)
            strides.append(_stride(output, px, strides[-1] if strides else 1))

        return hook

    hooks = [module.register_forward_hook(note(name)) for name, module in units]
    output = network(torch.zeros(1, 3, px, px))
    for hook in hooks:
        hook.remove()
    if order != [name for name, _ in units]:
        raise LeftOutError(_disorder([name for name, _ in units], order))
    return UnitLine(tuple(weight_layers(module) for _, module in units), tuple(strides)), [*outputs, output]


def _stride(output: Any, px: int, before: int) -> int:
    """Input pixels per output pixel, to the nearest power of two (convolutions without padding lose a little)."""
    while isinstance(output, tuple | list) and output:  # some networks hand several maps on; the first is the main one
        output = output[0]
    if not isinstance(output, Tensor) or output.ndim != 4 or output.shape[2] == 1:
        return before  # pooled: not a resolution any more
    return int(2 ** round(math.log2(px / output.shape[2])))


def _disorder(registered: Sequence[str], ran: Sequence[str]) -> str:
    if missing := [name for name in registered if name not in ran]:
        return f"units that do not run: {', '.join(missing[:3])}"
    if twice := sorted({name for name in ran if ran.count(name) > 1}):
        return f"units that run several times: {', '.join(twice[:3])}"
    first = next(here for here, there in zip(ran, registered, strict=True) if here != there)
    return f"units do not run in order: {first}"


def _least_px(backbone: nn.Module, px: int) -> int:
    """Find the smallest of some input sizes that the network can take."""
    for tried in _PX_TRIED:
        try:
            backbone(torch.zeros(1, 3, tried, tried))
        except (RuntimeError, AssertionError, ValueError):
            continue
        return tried
    return px


def build(names: Sequence[str], say: Callable[[str], None]) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Look at networks one after the other.

    Returns:
        The rows of those that are in, and the reasons why the others are not, by name.
    """
    rows, left_out = [], {}
    for number, name in enumerate(names, start=1):
        try:
            rows.append(row_for(name))
        except LeftOutError as error:
            left_out[name] = str(error)
        if number % 50 == 0 or number == len(names):
            say(f"{number} of {len(names)}: {len(rows)} in, {len(left_out)} left out")
    return rows, left_out


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the table, and say what is left out and why."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(str(TABLE)), help="the table to write")
    parser.add_argument("names", nargs="*", help="networks to look at; all if none are named")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows, left_out = build(asked.names or architectures(), _say)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(asked.out, text.getvalue())
    for name, reason in left_out.items():
        sys.stdout.write(f"left out: {name}: {reason}\n")
    sys.stdout.write(f"{asked.out}: {len(rows)} backbones\n")


if __name__ == "__main__":
    main()
