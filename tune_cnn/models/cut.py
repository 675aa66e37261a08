"""Cut a network short: the units after some place are taken out, and it is proved that the rest gives the same map."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tune_cnn.models.units import units_of


class InexactCutError(Exception):
    """What is left of the network does not give what its last unit gave within the whole."""


def cut_after(network: nn.Module, units: int) -> None:
    """Take out all units but the first `units`; each leaves an identity, which has no weights and takes no time."""
    for name, _ in units_of(network)[units:]:
        parent, _, child = name.rpartition(".")
        setattr(network.get_submodule(parent), child, nn.Identity())


def feature_map(network: nn.Module, images: Tensor) -> Tensor:
    """Give the map before the pooling of all pixels: (B, 3, H, W) to (B, C, h, w)."""
    forward_features: Callable[[Tensor], Tensor] = network.forward_features  # type: ignore[assignment]
    return forward_features(images)


def cut_and_prove(network: nn.Module, units: int, *, px: int) -> None:
    """Cut a network after `units` units, and compare on a random image what is left with what was there.

    Args:
        network: in eval mode afterwards, as it was before.
        units: how many to keep; as many as make the map, or fewer.
        px: height and width of the image, at least what the network can take.

    Raises:
        InexactCutError: the rest cannot run, or gives another map: the units do not hand on everything they see.
    """
    training = network.training
    network.eval()
    image = torch.rand(1, 3, px, px, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = map_after(network, units, image)
        cut_after(network, units)
        try:
            left = feature_map(network, image)
        except (RuntimeError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise InexactCutError(f"cut after unit {units}, it cannot run: {error}") from error
    if left.shape != expected.shape or not torch.equal(left, expected):
        raise InexactCutError(f"cut after unit {units}, it gives another map than before")
    network.train(training)


def map_after(network: nn.Module, units: int, image: Tensor) -> Tensor:
    """Run the whole network and give the output of its unit number `units`; the whole map if that is its last."""
    seen: list[Any] = []
    ran = 0

    def note(_module: nn.Module, _inputs: Any, output: Any) -> None:
        nonlocal ran
        ran += 1
        if ran == units:
            seen.append(output)

    hooks = [module.register_forward_hook(note) for _, module in units_of(network)]
    whole = feature_map(network, image)
    for hook in hooks:
        hook.remove()
    if ran <= units:
        return whole
    (output,) = seen
    if not isinstance(output, Tensor):
        raise InexactCutError(f"unit {units} hands on more than one map")
    return output
