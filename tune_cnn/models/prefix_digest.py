"""What the first units of a network compute, as a digest: their structure and every number in them."""

import hashlib
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from tune_cnn.models.network import Network
from tune_cnn.models.units import units_of

# Per network the last ones, and of which versions of its tensors they are: torch counts what changes a tensor.
_Versions = tuple[tuple[int, int], ...]
_known: WeakKeyDictionary[Network, tuple[_Versions, tuple[str, ...]]] = WeakKeyDictionary()


def prefix_digests(model: Network, units: int) -> tuple[str, ...]:
    """Give for 0 to `units` leading units what their output depends on beside the input: the same for the same content.

    Random weights of one seed and a file that holds them are the same thing; a changed number anywhere is another.
    """
    versions = _versions(model, units)
    seen, digests = _known.get(model, ((), ()))
    if len(digests) <= units or seen[: len(versions)] != versions:
        digests = _digests(model, units)
        _known[model] = versions, digests
    return digests[: units + 1]


def _versions(model: Network, units: int) -> _Versions:
    tensors = (tensor for unit in model.unit_modules()[:units] for tensor in unit.state_dict(keep_vars=True).values())
    return tuple((tensor.data_ptr(), tensor._version) for tensor in tensors)


def _digests(model: Network, units: int) -> tuple[str, ...]:
    digest = hashlib.sha256(type(model.trunk).__qualname__.encode())
    found = [digest.hexdigest()]
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
