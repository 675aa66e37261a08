"""A network in two: the prefix, which stands still and is run once, and the tail, which takes what it gave and trains.

The tail is a network like the whole one, but its first units hand on what they are given. It holds the very parameters
and running statistics of the whole network: what trains the one trains the other, and only the whole one is ever saved.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from tune_cnn.models.cut import InexactCutError
from tune_cnn.models.network import Inputs, Network

Activation = tuple[Tensor, ...]
"""What the prefix gives for a batch: one map or vector per image, below a decoder several maps; (B, ...) each."""
# All of torch's own derive from this class, which has no public name.
_Dropout = nn.modules.dropout._DropoutNd
# What networks raise that are given another thing in the middle than they expect.
_CANNOT_RUN = (RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError, AssertionError)


@dataclass(frozen=True)
class Cut:
    """A network cut after its first `units` units; after all of them, what is left is what stands on the trunk."""

    model: Network
    units: int
    tail: Network
    needed: tuple[int, ...]
    """Of what the trunk gives, the places of what the tail takes."""

    @torch.inference_mode()
    def activation(self, images: Tensor) -> Activation:
        """Run the prefix on (B, 3, H, W) images, or on what the model takes in their place; leaves it in eval mode.

        Raises:
            InexactCutError: the last unit before the cut is not run once, or does not hand on a single map.
        """
        self.model.eval()
        if self.units < len(self.model.units):
            return (_run_to(self.model, self.units, images),)
        features = self.model.features(images)
        given = features if isinstance(features, tuple) else (features,)
        return tuple(given[place] for place in self.needed)

    def prove(self, images: Tensor) -> Activation:
        """Hold prefix and tail against the whole network, in eval mode, on a few images.

        Equal to the bit: prefix and tail run the same kernels on the same numbers as the whole. Leaves the modes of
        both as they were.

        Returns:
            What the prefix gave.

        Raises:
            InexactCutError: the tail gives other logits, or writes into what it is given, as an activation in place
                would; or the prefix or the tail cannot run.
            OutOfMemoryError: a GPU has no room for it now.
        """
        modes = self.model.training, self.tail.training
        try:
            activation = self.activation(images)
            with torch.inference_mode():
                given = tuple(one.clone() for one in activation)
                expected, logits = self.model.eval()(images), self.tail.eval()(as_inputs(given))
        except torch.OutOfMemoryError:
            raise  # says nothing of the cut
        except _CANNOT_RUN as error:
            raise InexactCutError(f"cut after unit {self.units}, it cannot run: {error}") from error
        finally:
            self.model.train(modes[0])
            self.tail.train(modes[1])
        if logits.shape != expected.shape or not torch.equal(logits, expected):
            raise InexactCutError(f"cut after unit {self.units}, it gives other logits than the whole network")
        if not all(torch.equal(one, other) for one, other in zip(given, activation, strict=True)):
            # A batch may be asked for twice, where memory has not sufficed for it.
            raise InexactCutError(f"cut after unit {self.units}, it changes what it is given in its place")
        return activation


def cut_network(model: Network, units: int, images: Tensor) -> Cut:
    """Cut a network after `units` units, whatever is frozen; `Cut.prove` says whether the tail can be trusted.

    Args:
        model: stays whole; its mode stays as it is.
        units: 1 to all of its units.
        images: (B, 3, H, W), a few of those to come: from them a decoder learns the shapes of the maps it ignores.

    Raises:
        InexactCutError: a cut inside a trunk of which several maps are taken.
    """
    total = len(model.units)
    if not 0 < units <= total:
        raise ValueError(f"a cut after unit {units}, but the backbone has {total}")
    if units < total and not model.can_be_cut_inside:
        raise InexactCutError(f"cut after unit {units}, but all maps of its {total} units are needed")
    if len(list(model.trunk.parameters())) > sum(len(list(unit.parameters())) for unit in model.unit_modules()):
        raise InexactCutError("the backbone has weights outside its units, which train")
    tail = _sharing_copy(model, without=model.unit_modules()[:units] if model.can_be_cut_inside else [])
    needed = tail.take_features(images) if units == total else (0,)
    tail.frozen_units = max(0, model.frozen_units - units)
    tail.train(model.training)
    return Cut(model, units, tail, needed)


def still_units(model: Network) -> int:
    """Count the leading units that stand still: the frozen ones, and those without weights that follow.

    Pooling and activations behind the last frozen unit have nothing to train and do in training what they do in
    evaluation.
    """
    units, still = model.unit_modules(), model.frozen_units
    while still < len(units) and still and _has_nothing_to_train(units[still]):
        still += 1
    return still


def freeze_depths(model: Network) -> tuple[int, ...]:
    """Give all values but 0 that `still_units` can have, rising; the last is all units."""
    units = model.unit_modules()
    return tuple(
        depth for depth in range(1, len(units) + 1) if depth == len(units) or not _has_nothing_to_train(units[depth])
    )


def _has_nothing_to_train(unit: nn.Module) -> bool:
    tensors = any(True for _ in chain(unit.parameters(), unit.buffers()))
    return not tensors and not any(isinstance(module, _Dropout) for module in unit.modules())


def as_inputs(activation: Activation) -> Inputs:
    """Give an activation as a tail takes it: a single map by itself."""
    return activation if len(activation) > 1 else activation[0]


def _sharing_copy(model: Network, without: Sequence[nn.Module]) -> Network:
    """Copy the modules, which know their mode, but not the tensors in them; some leave an identity."""
    copies: dict[int, Any] = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    return copy.deepcopy(model, copies | {id(unit): nn.Identity() for unit in without})


class _ReachedError(Exception):
    """The unit before the cut has run; carries what it gave."""

    def __init__(self, output: Any) -> None:
        super().__init__("the cut is reached")
        self.output = output


def _run_to(model: Network, units: int, images: Tensor) -> Tensor:
    """Run a network up to and with unit number `units`, and not a step further."""

    def stop(_module: nn.Module, _inputs: Any, output: Any) -> None:
        raise _ReachedError(output)

    hook = model.unit_modules()[units - 1].register_forward_hook(stop)
    try:
        model(images)
    except _ReachedError as reached:
        if not isinstance(reached.output, Tensor):
            raise InexactCutError(f"unit {units} hands on more than one map") from None
        return reached.output
    finally:
        hook.remove()
    raise InexactCutError(f"unit {units} is not run")
