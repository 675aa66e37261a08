"""What is minimised: cross entropy, focal and Dice loss of logits against class ids, of whole images or of pixels."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tune_cnn.sections.training import LossTerm

FOCUS = 2.0  # the gamma that Lin et al. found best
_SMOOTH_PIXELS = 1.0  # keeps the Dice of a class without pixels defined


class TrainLoss(nn.Module):
    """The sum of one or several losses; what is ignored counts in none of them."""

    weight: Tensor | None

    def __init__(
        self,
        terms: Sequence[LossTerm],
        *,
        weight: Tensor | None = None,
        label_smoothing: float = 0.0,
        ignored_id: int | None = None,
    ) -> None:
        """Choose the terms.

        Args:
            terms: which losses are added up.
            weight: (C,) of each class, for cross entropy and focal loss; Dice weighs classes equally by itself.
            label_smoothing: for cross entropy.
            ignored_id: targets that do not count; None if all do.
        """
        super().__init__()
        self.terms = tuple(terms)
        self.label_smoothing = label_smoothing
        self.ignored_id = ignored_id
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Give the loss, a scalar; 0 if nothing counts.

        Args:
            logits: (B, C, ...).
            target: (B, ...) class ids.
        """
        return torch.stack([self._term(term, logits, target) for term in self.terms]).sum()

    def _term(self, term: LossTerm, logits: Tensor, target: Tensor) -> Tensor:
        match term:
            case "cross_entropy":
                return cross_entropy(
                    logits, target, self.weight, label_smoothing=self.label_smoothing, ignored_id=self.ignored_id
                )
            case "focal":
                return focal(logits, target, self.weight, ignored_id=self.ignored_id)
            case "dice":
                return dice(logits, target, ignored_id=self.ignored_id)


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    label_smoothing: float = 0.0,
    ignored_id: int | None = None,
) -> Tensor:
    """Give torch's weighted mean over all targets that count; 0, not NaN, if none does."""
    if ignored_id is None:
        return functional.cross_entropy(logits, target, weight, label_smoothing=label_smoothing)
    losses = functional.cross_entropy(
        logits, target, weight, ignore_index=ignored_id, label_smoothing=label_smoothing, reduction="none"
    )
    return losses.sum() / _total_weight(target, weight, ignored_id)


def focal(logits: Tensor, target: Tensor, weight: Tensor | None = None, *, ignored_id: int | None = None) -> Tensor:
    """Give the mean of (1 - p)^2 times the cross entropy, p being the probability of the true class.

    Lin et al., Focal Loss for Dense Object Detection, 2017, equation 5 with the weights as alpha.
    """
    index = -100 if ignored_id is None else ignored_id
    # In full precision: with half, 1 - p of a sure prediction is 0 or 0.001, and nothing between.
    logs = functional.log_softmax(logits.float(), dim=1)
    plain = functional.nll_loss(logs, target, ignore_index=index, reduction="none")
    weighted = functional.nll_loss(logs, target, weight, ignore_index=index, reduction="none")
    return ((1 - torch.exp(-plain)) ** FOCUS * weighted).sum() / _total_weight(target, weight, index)


def dice(logits: Tensor, target: Tensor, *, ignored_id: int | None = None) -> Tensor:
    """Give 1 less the mean soft Dice of the classes that occur in the batch; 0 if nothing counts.

    Milletari et al., V-Net, 2016, with sums over the whole batch: per image, a class of few pixels would be noise.
    """
    counts = target != (-1 if ignored_id is None else ignored_id)
    shares = functional.softmax(logits.float(), dim=1) * counts.unsqueeze(1)
    truth = functional.one_hot(target.where(counts, 0), logits.shape[1]).movedim(-1, 1) * counts.unsqueeze(1)
    axes = [axis for axis in range(logits.ndim) if axis != 1]
    overlap, total = (shares * truth).sum(axes), (shares + truth).sum(axes)
    occurs = truth.sum(axes) > 0
    loss = 1 - (2 * overlap + _SMOOTH_PIXELS) / (total + _SMOOTH_PIXELS)
    return (loss * occurs).sum() / occurs.sum().clamp(min=1)


def _total_weight(target: Tensor, weight: Tensor | None, ignored_id: int) -> Tensor:
    counts = target != ignored_id
    total = counts.sum() if weight is None else (weight[target.where(counts, 0)] * counts).sum()
    return total.clamp(min=torch.finfo(torch.float32).tiny)
