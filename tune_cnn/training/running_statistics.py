"""What BatchNorm remembers of a training step: undone where the step fails, shared out where it is made in parts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from tune_cnn.models.network import Network
from tune_cnn.models.units import batch_norms


class RunningStatistics:
    """The running statistics of the BatchNorm layers that train: kept, put back, moved by parts of a batch."""

    def __init__(self, network: Network) -> None:
        """Look at which layers of a network move them while it trains."""
        network.train()
        self._layers = [(layer, layer.momentum) for layer in batch_norms(network) if layer.training]
        names = (("running_mean", "running_var"), ("num_batches_tracked",))
        # By type, as one kernel copies tensors of one type only.
        self._live = tuple([layer.get_buffer(name) for layer, _ in self._layers for name in kind] for kind in names)
        self._kept = tuple([tensor.clone() for tensor in tensors] for tensors in self._live)

    def keep(self) -> None:
        """Remember them as they are."""
        _copy(self._kept, self._live)

    def restore(self) -> None:
        """Put back what was kept."""
        _copy(self._live, self._kept)

    def count_once(self) -> None:
        """Let the micro-batches since `keep` count as one batch."""
        counted = [tensor + 1 for tensor in self._kept[1]]
        _copy((self._live[1],), (counted,))

    @contextmanager
    def weighed(self, size: int, later: int, images: int) -> Iterator[None]:
        """Let a micro-batch of `size` of a batch's `images`, before `later` others, move them by its share.

        All together then move the means just as the batch would have, and the variances by the mean of theirs.
        """
        try:
            for layer, momentum in self._layers:
                if momentum is not None:
                    layer.momentum = momentum * size / (images - momentum * later)
            yield
        finally:
            for layer, momentum in self._layers:
                layer.momentum = momentum


def _copy(into: Sequence[list[Tensor]], source: Sequence[list[Tensor]]) -> None:
    for there, here in zip(into, source, strict=True):
        if there:
            torch._foreach_copy_(there, here)  # one kernel for all layers on a GPU, where each copy would cost a launch
