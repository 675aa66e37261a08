"""One step of training: forward, loss, backward, optimiser; in several micro-batches where memory asks for it.

The device is never waited for within a step, but by the scaler that half precision of 16 bits and 5 of exponent needs.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, optim

from tune_cnn.errors import TrialError
from tune_cnn.models.network import Inputs, Network
from tune_cnn.training.losses import TrainLoss, Whole
from tune_cnn.training.micro_batches import MicroBatches, is_out_of_memory, split, too_little_memory
from tune_cnn.training.precision import Precision
from tune_cnn.training.running_statistics import RunningStatistics

Pieces = Sequence[tuple[Inputs, Tensor]]
LossOf = Callable[[Tensor, Tensor], Tensor]


class TrainStep:
    """Makes one optimiser step after the other.

    Where memory does not suffice for a batch, its gradient is added up over micro-batches, from then on for good. Loss
    and gradient stay those of the whole batch, whatever the loss and its weights; only what BatchNorm normalises by is
    that of the micro-batch.
    """

    def __init__(self, loss: TrainLoss, precision: Precision, device: torch.device) -> None:
        """Take what stays the same over all phases of a training."""
        self._loss = loss.to(device)
        self._device = device
        self.micro = MicroBatches()
        self._set(precision)

    def _set(self, precision: Precision) -> None:
        self.precision = precision
        # Keeps small gradients of float16 from vanishing; idle where another type is used.
        self.scaler = torch.amp.GradScaler(self._device.type, enabled=precision.dtype == "float16")

    def begin(self, network: Network, optimizer: optim.Optimizer) -> None:
        """Train this network from now on, frozen as it is now, by this optimiser."""
        self._network, self._optimizer = network, optimizer
        self.micro.least = network.least_batch
        self._statistics = RunningStatistics(network)

    def state(self) -> dict[str, Any]:
        """Give plain data that `restore` reads back."""
        return {
            "scaler": self.scaler.state_dict(),
            "micro_batch_size": self.micro.size,
            "precision": vars(self.precision),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken, in the same precision, and with micro-batches as small."""
        self._set(Precision(**state["precision"]))
        self.micro.size = state["micro_batch_size"]
        if state["scaler"]:  # an idle one has no state, and a waking one takes none from it
            self.scaler.load_state_dict(dict(state["scaler"]))

    def __call__(self, inputs: Inputs, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Make a step with a batch.

        Args:
            inputs: as the network takes them, B of them.
            targets: (B, ...) class ids.

        Returns:
            (B, ...) predicted class ids and the loss, a scalar.

        Raises:
            TrialError: memory does not suffice, however small the micro-batches.
        """
        self._statistics.keep()
        attempt = partial(self._gradients, inputs, targets)
        predicted, loss = self.micro.fit(len(targets), attempt, forget=self._forget)
        try:
            self.scaler.step(self._optimizer)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise TrialError(too_little_memory("the optimiser's own tensors find no room")) from error
        self.scaler.update()
        return predicted, loss

    def _forget(self) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        self._statistics.restore()

    def _gradients(self, inputs: Inputs, targets: Tensor, parts: int) -> tuple[Tensor, Tensor]:
        self._optimizer.zero_grad(set_to_none=True)
        if parts == 1:
            return self._gradient(inputs, targets, self._loss)
        pieces = list(zip(split(inputs, parts), targets.tensor_split(parts), strict=True))
        portion = partial(self._loss.portion, whole=self._whole(pieces, targets))
        done = []
        later = len(targets)
        for piece, truth in pieces:
            later -= len(truth)
            with self._statistics.weighed(len(truth), later, len(targets)):
                done.append(self._gradient(piece, truth, portion))
        self._statistics.count_once()
        predicted, losses = zip(*done, strict=True)
        return torch.cat(predicted), torch.stack(losses).sum()

    def _gradient(self, inputs: Inputs, targets: Tensor, loss_of: LossOf) -> tuple[Tensor, Tensor]:
        logits = self._logits(inputs)
        loss = loss_of(logits, targets)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        return logits.detach().argmax(dim=1), loss.detach()

    def _whole(self, pieces: Pieces, targets: Tensor) -> Whole:
        """Find out about the batch what each part of its loss depends on; Dice asks for a forward pass more."""
        overlaps = None
        if self._loss.looks_across:
            # The same dropout as in the pass that follows, and BatchNorm as if there had been none.
            with torch.no_grad(), torch.random.fork_rng([self._device] if self._device.type == "cuda" else []):
                each = [self._loss.overlaps(self._logits(piece), truth) for piece, truth in pieces]
            overlaps = torch.stack(each).sum(dim=0)
            self._statistics.restore()
        return Whole(len(pieces), self._loss.weight_of(targets), overlaps)

    def _logits(self, inputs: Inputs) -> Tensor:
        with self.precision.autocast(self._device):
            logits: Tensor = self._network(self.precision.arrange(inputs))
        return logits.float()  # losses of half precision would be too coarse to follow
