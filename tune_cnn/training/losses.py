"""What is minimised: cross entropy, focal and Dice loss of logits against class ids, of whole images or of pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tune_cnn.sections.training import LossTerm

FOCUS = 2.0  # the gamma that Lin et al. found best
_SMOOTH_PIXELS = 1.0  # keeps the Dice of a class without pixels defined
_NO_ID = -100  # torch's own for "nothing is ignored"


@dataclass(frozen=True)
class Whole:
    """What must be known of a whole batch to say what part of its loss one of its micro-batches makes up."""

    parts: int
    """How many micro-batches there are."""
    weight: Tensor
    """Scalar: of all targets that count."""
    overlaps: Tensor | None = None
    """As `overlaps` gives them; None without Dice."""


class TrainLoss(nn.Module):
    """The sum of one or several losses; what is ignored counts in none of them.

    The loss of a batch can also be had in portions, micro-batch by micro-batch, whose sum and whose gradients' sum are
    those of the whole.
    """

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

    @property
    def looks_across(self) -> bool:
        """Whether what one image adds depends on what the network says of the others, as in Dice."""
        return "dice" in self.terms

    def weight_of(self, target: Tensor) -> Tensor:
        """Give the weight of all of (B, ...) class ids that count, a scalar: what a mean loss is divided by."""
        return _total_weight(target, self.weight, _NO_ID if self.ignored_id is None else self.ignored_id)

    def overlaps(self, logits: Tensor, target: Tensor) -> Tensor:
        """Give what Dice is made of, which adds up over micro-batches: (3, C)."""
        return _overlaps(logits, target, ignored_id=self.ignored_id)

    def portion(self, logits: Tensor, target: Tensor, whole: Whole) -> Tensor:
        """Give the part of a batch's loss that one of its micro-batches makes up, a scalar.

        Args:
            logits: (B, C, ...), of the micro-batch.
            target: (B, ...) class ids.
            whole: of the batch.
        """
        share = self.weight_of(target) / whole.weight
        means = [self._term(term, logits, target) * share for term in self.terms if term != "dice"]
        if whole.overlaps is not None:
            mine = self.overlaps(logits, target)
            loss = _dice_of(whole.overlaps - mine.detach() + mine)
            # The whole gradient, but of the value, which is the whole batch's each time, an equal share.
            means.append(loss - loss.detach() * (1 - 1 / whole.parts))
        return torch.stack(means).sum()

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
    index = _NO_ID if ignored_id is None else ignored_id
    # In full precision: with half, 1 - p of a sure prediction is 0 or 0.001, and nothing between.
    logs = functional.log_softmax(logits.float(), dim=1)
    plain = functional.nll_loss(logs, target, ignore_index=index, reduction="none")
    weighted = functional.nll_loss(logs, target, weight, ignore_index=index, reduction="none")
    return ((1 - torch.exp(-plain)) ** FOCUS * weighted).sum() / _total_weight(target, weight, index)


def dice(logits: Tensor, target: Tensor, *, ignored_id: int | None = None) -> Tensor:
    """Give 1 less the mean soft Dice of the classes that occur in the batch; 0 if nothing counts.

    Milletari et al., V-Net, 2016, with sums over the whole batch: per image, a class of few pixels would be noise.
    """
    return _dice_of(_overlaps(logits, target, ignored_id=ignored_id))


def _overlaps(logits: Tensor, target: Tensor, *, ignored_id: int | None) -> Tensor:
    """Give per class the sums over all pixels that count of prediction times truth, prediction plus truth, and truth.

    Returns:
        (3, C).
    """
    counts = (target != (_NO_ID if ignored_id is None else ignored_id)).unsqueeze(1)
    shares = functional.softmax(logits.float(), dim=1) * counts
    axes = [axis for axis in range(logits.ndim) if axis != 1]
    # Not one_hot, whose 64-bit numbers take more memory than all the rest.
    ids = torch.arange(logits.shape[1], device=target.device).view(-1, *[1] * (target.ndim - 1))
    truth = (target.unsqueeze(1) == ids) & counts
    true = truth.sum(axes).to(shares.dtype)
    return torch.stack([(shares * truth).sum(axes), shares.sum(axes) + true, true])


def _dice_of(overlaps: Tensor) -> Tensor:
    overlap, total, true = overlaps
    occurs = true > 0
    losses = 1 - (2 * overlap + _SMOOTH_PIXELS) / (total + _SMOOTH_PIXELS)
    loss: Tensor = (losses * occurs).sum() / occurs.sum().clamp(min=1)
    return loss


def _total_weight(target: Tensor, weight: Tensor | None, ignored_id: int) -> Tensor:
    counts = target != ignored_id
    total = counts.sum() if weight is None else (weight[target.where(counts, 0)] * counts).sum()
    return total.clamp(min=torch.finfo(torch.float32).tiny)
