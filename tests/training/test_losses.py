import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from segmentation_models_pytorch.losses import DiceLoss
from sklearn import metrics
from torch.nn import functional

from tune_cnn.sections.data import IGNORED_ID
from tune_cnn.sections.training import LossTerm, TrainingConfig
from tune_cnn.training.losses import TrainLoss, cross_entropy, dice, focal
from tune_cnn.training.objective import objective_for

CPU = torch.device("cpu")
TERMS: list[LossTerm] = ["cross_entropy", "focal", "dice"]


def drawn(seed: int, classes: int = 3, *, ignored: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, 8, 6, generator=generator, dtype=torch.float64)
    target = torch.randint(0, classes, (2, 8, 6), generator=generator)
    return logits, target.where(torch.rand(2, 8, 6, generator=generator) >= ignored, IGNORED_ID)


@given(seed=st.integers(0, 10**6), smoothing=st.sampled_from([0.0, 0.1]), weighed=st.booleans())
def test_cross_entropy_is_torch_s_mean_over_what_counts(seed: int, smoothing: float, weighed: bool) -> None:
    logits, target = drawn(seed)
    weight = torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64) if weighed else None
    found = cross_entropy(logits, target, weight, label_smoothing=smoothing, ignored_id=IGNORED_ID)
    wanted = functional.cross_entropy(logits, target, weight, ignore_index=IGNORED_ID, label_smoothing=smoothing)
    assert float(found) == pytest.approx(float(wanted))


@pytest.mark.parametrize("seed", range(5))
def test_focal_loss_is_its_formula(seed: int) -> None:
    logits, target = drawn(seed)
    shares = torch.softmax(logits, dim=1)
    weight = torch.tensor([0.2, 1.0, 3.0])
    sums, weights = 0.0, 0.0
    for image, row, column in torch.nonzero(target != IGNORED_ID).tolist():
        truth = int(target[image, row, column])
        share = shares[image, truth, row, column]
        sums += float(-weight[truth] * (1 - share) ** 2 * torch.log(share))
        weights += float(weight[truth])
    assert float(focal(logits, target, weight, ignored_id=IGNORED_ID)) == pytest.approx(sums / weights, rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_dice_loss_is_that_of_smp(seed: int) -> None:
    logits, target = drawn(seed)
    other = DiceLoss("multiclass", smooth=0.5, ignore_index=IGNORED_ID)(logits, target)  # its s stands for 2 s here
    assert float(dice(logits, target, ignored_id=IGNORED_ID)) == pytest.approx(float(other), rel=1e-5)


def test_a_class_that_does_not_occur_is_left_out_of_dice() -> None:
    logits = torch.full((1, 3, 2, 2), -20.0)
    logits[:, 1] = 20.0
    assert float(dice(logits, torch.ones(1, 2, 2, dtype=torch.int64))) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("term", TERMS)
def test_what_is_ignored_moves_nothing(term: LossTerm) -> None:
    logits, target = drawn(3)
    logits.requires_grad_()
    TrainLoss([term], ignored_id=IGNORED_ID)(logits, target).backward()
    assert logits.grad is not None
    ignored = (target == IGNORED_ID).unsqueeze(1).expand_as(logits)
    assert float(logits.grad[ignored].abs().max()) == 0 < float(logits.grad[~ignored].abs().min())


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 2.0, 3.0])], ids=["plain", "weighed"])
def test_a_batch_in_which_nothing_counts_costs_nothing(term: LossTerm, weight: torch.Tensor | None) -> None:
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = TrainLoss([term], weight=weight, ignored_id=IGNORED_ID)(logits, torch.full((2, 4, 4), IGNORED_ID))
    loss.backward()
    assert logits.grad is not None
    assert float(loss.detach()) == float(logits.grad.abs().sum()) == 0


def test_a_list_of_losses_is_their_sum() -> None:
    logits, target = drawn(1)
    alone = [float(TrainLoss([term], ignored_id=IGNORED_ID)(logits, target)) for term in TERMS]
    assert float(TrainLoss(TERMS, ignored_id=IGNORED_ID)(logits, target)) == pytest.approx(sum(alone))


def test_pixel_counts_are_those_of_scikit_learn_whatever_the_batches() -> None:
    objective = objective_for("segmentation", TrainingConfig(), [5, 5, 5])
    counter = objective.counter(CPU)
    truths, predictions, losses, counted = [], [], 0.0, 0
    for seed, ignored in ((1, 0.1), (2, 0.9), (3, 1.1)):
        logits, target = drawn(seed, ignored=ignored)
        loss = objective.val_loss(logits, target)
        counter.add(logits.argmax(dim=1), target, loss)
        keep = target != IGNORED_ID
        truths += target[keep].tolist()
        predictions += logits.argmax(dim=1)[keep].tolist()
        losses += float(loss) * int(keep.sum())
        counted += int(keep.sum())
    scores = counter.scores()
    assert (counter.confusion() == metrics.confusion_matrix(truths, predictions, labels=range(3))).all()
    assert scores["miou"] == pytest.approx(metrics.jaccard_score(truths, predictions, average="macro"))
    assert scores["dice"] == pytest.approx(metrics.f1_score(truths, predictions, average="macro"))
    assert scores["pixel_accuracy"] == pytest.approx(metrics.accuracy_score(truths, predictions))
    assert scores["loss"] == pytest.approx(losses / counted)


def test_balanced_weights_leave_the_mean_weight_of_a_pixel_at_one() -> None:
    training = TrainingConfig(class_weights="balanced")
    weight = objective_for("segmentation", training, [900, 100, 0]).train_loss.weight
    assert weight is not None
    assert weight.tolist() == pytest.approx([1000 / 1800, 5.0, 0.0])
    assert (weight[0] * 900 + weight[1] * 100) / 1000 == pytest.approx(1.0)
