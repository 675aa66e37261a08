"""Does a weights file fit a backbone? Answered from the file's header, before anything is loaded."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from tune_cnn.errors import WeightsError

Shapes = Mapping[str, tuple[int, ...]]
_MOST_HEADER_BYTES = 100_000_000  # what the format itself allows
_NAMES_SHOWN = 3
# Counters that only matter to a BatchNorm without momentum; older files lack them.
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Wanted:
    """What a backbone expects of a file."""

    needed: Shapes
    """Without a classifier."""
    optional: Collection[str]
    """Names a file may hold besides, of any shape: the classifier's."""


def read_shapes(file: Path) -> Shapes:
    """Read the names and shapes in a safetensors file from its header.

    Raises:
        WeightsError: no such file, or no safetensors; with how to convert a torch file.
    """
    if not file.is_file():
        raise WeightsError(f"{file}: no such file; write a safetensors file, or weights: imagenet or none")
    if file.suffix != ".safetensors":
        raise WeightsError(_not_safetensors(file))
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= min(_MOST_HEADER_BYTES, file.stat().st_size - 8):  # `{}` is the shortest
            raise WeightsError(_not_safetensors(file))
        try:
            header = json.loads(stream.read(length))
            return {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise WeightsError(_not_safetensors(file)) from error


def misfits(held: Shapes, wanted: Wanted) -> list[str]:
    """Say how a file's tensors differ from what a backbone expects, half a line each; empty if they fit."""
    missing = [name for name in wanted.needed if name not in held and not name.endswith(_COUNTER)]
    unexpected = [name for name in held if name not in wanted.needed and name not in wanted.optional]
    reshaped = [
        f"{name} is {list(held[name])}, not {list(shape)}"
        for name, shape in wanted.needed.items()
        if held.get(name, shape) != shape
    ]
    kinds = (("missing", missing), ("of another shape", reshaped), ("unexpected", unexpected))
    return [f"{len(names)} {kind} ({_shortened(names)})" for kind, names in kinds if names]


def _shortened(names: list[str]) -> str:
    more = ["…"] if len(names) > _NAMES_SHOWN else []
    return ", ".join([*names[:_NAMES_SHOWN], *more])


def _not_safetensors(file: Path) -> str:
    return (
        f"{file}: not a safetensors file (a torch file can run code when it is read, so none is read here); where you "
        f"trust it, write it anew: safetensors.torch.save_file(model.state_dict(), '{file.stem}.safetensors')"
    )
