"""What the first units of a network compute, as a digest: their structure and every number in them."""

import hashlib

import torch
from torch import Tensor, nn

from tune_cnn.models.network import Network
from tune_cnn.models.units import units_of


def prefix_digests(model: Network, units: int) -> tuple[str, ...]:
    """Give for 1 to `units` leading units what their output depends on beside the input: the same for the same content.

    Random weights of one seed and a file that holds them are the same thing; a changed number anywhere is another.
    """
    digest = hashlib.sha256(type(model.trunk).__qualname__.encode())
    found = []
    for name, unit in units_of(model.trunk)[:units]:
        digest.update(_structure(name, unit))
        for key, tensor in unit.state_dict().items():
            digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(_content(tensor))
        found.append(digest.hexdigest())
    return tuple(found)


def structure_digest(model: Network) -> str:
    """Give a digest of how a network's backbone is built, whatever its weights."""
    text = b"\n".join(_structure(name, unit) for name, unit in units_of(model.trunk))
    return hashlib.sha256(type(model.trunk).__qualname__.encode() + text).hexdigest()


def _structure(name: str, unit: nn.Module) -> bytes:
    """Sizes, strides, poolings, activations: what modules say of themselves."""
    return f"{name} {unit!r}\n".encode()


def _content(tensor: Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
