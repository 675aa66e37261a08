"""Networks as they were built, for the next trial on the same worker: a copy takes a fraction of the time.

Building draws random weights, even where a file replaces them, and so moves torch's generator. A copy is only given
where the generator stands as it stood before the building, and leaves it as the building did: a trial comes out the
same to the bit whatever ran before it in its process.
"""

import copy
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

MOST_BYTES = 512 * 2**20
"""Of all networks kept in a process."""


@dataclass(frozen=True)
class _Built:
    network: nn.Module
    generator_after: Tensor

    @property
    def size(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in self.network.state_dict().values())


_kept: OrderedDict[tuple[Hashable, str], _Built] = OrderedDict()


def resident(about: Hashable, build: Callable[[], nn.Module]) -> nn.Module:
    """Build a network, or copy the one that was built before.

    Args:
        about: all that the network depends on besides torch's generator.
        build: makes it, on the CPU, with what randomness it needs from torch's generator.
    """
    key = (about, _digest(torch.get_rng_state()))
    built = _kept.pop(key, None)
    if built is None:
        built = _Built(build(), torch.get_rng_state())
    _kept[key] = built
    torch.set_rng_state(built.generator_after)
    network = copy.deepcopy(built.network)
    while sum(one.size for one in _kept.values()) > MOST_BYTES:
        _kept.popitem(last=False)
    return network


def _digest(state: Tensor) -> str:
    return hashlib.sha256(state.numpy().data).hexdigest()
