import pytest
import torch
from torch import nn

from tune_cnn.sections.training import (
    Adam,
    AdamW,
    Constant,
    Cosine,
    OneCycle,
    Optimizer,
    Plateau,
    RmsProp,
    Schedule,
    Sgd,
)
from tune_cnn.training.schedule import LearningRate, build_optimizer, parameter_groups, steps_per_epoch


def rates(schedule: Schedule, *, epochs: int, losses: list[float] | None = None, lr: float = 1.0) -> list[float]:
    """The learning rate at each epoch's start, with two steps an epoch."""
    optimizer = build_optimizer(Sgd(kind="sgd", lr=lr), [nn.Parameter(torch.zeros(1))])
    rate = LearningRate(schedule, optimizer, epochs=epochs, steps_per_epoch=2)
    seen = []
    for loss in losses or [1.0] * epochs:
        seen.append(rate.lr)
        for _ in range(2):
            optimizer.step()
            rate.after_step()
        rate.after_epoch(val_loss=loss, score=-loss)
    return seen


@pytest.mark.parametrize("watch", ["val_loss", "score"])
def test_a_plateau_is_cut_after_exactly_its_patience(watch: str) -> None:
    schedule = Plateau.model_validate({"kind": "plateau", "factor": 0.1, "patience_epochs": 2, "watch": watch})
    assert rates(schedule, epochs=5, losses=[3, 2, 2, 2, 2]) == pytest.approx([1, 1, 1, 1, 0.1])


def test_a_falling_loss_is_never_cut() -> None:
    schedule = Plateau(kind="plateau", patience_epochs=1)
    assert rates(schedule, epochs=5, losses=[5, 4, 3, 2, 1]) == [1.0] * 5


def test_one_cycle_rises_to_the_rate_and_falls_below_where_it_began() -> None:
    seen = rates(OneCycle(kind="one_cycle", rise=0.5), epochs=10)
    assert seen.index(max(seen)) in (4, 5)
    assert max(seen) == pytest.approx(1.0, abs=0.1)
    assert seen[-1] < 0.1 > seen[0]


def test_cosine_ends_at_its_final_fraction() -> None:
    optimizer = build_optimizer(Sgd(kind="sgd", lr=1.0), [nn.Parameter(torch.zeros(1))])
    rate = LearningRate(Cosine(kind="cosine", final_fraction=0.2), optimizer, epochs=4, steps_per_epoch=1)
    for _ in range(4):
        optimizer.step()
        rate.after_step()
    assert rate.lr == pytest.approx(0.2)


def test_a_constant_rate_stays() -> None:
    assert rates(Constant(kind="constant"), epochs=3) == [1.0] * 3


def three_parts() -> list[list[nn.Parameter]]:
    return [[nn.Parameter(torch.zeros(size))] for size in (1, 2, 3)]


def test_each_part_before_the_head_learns_more_slowly() -> None:
    parts = three_parts()
    groups = parameter_groups(parts, lr=1.0, layer_decay=0.5)
    assert [(group["params"], group["lr"]) for group in groups] == list(zip(parts, [0.25, 0.5, 1.0], strict=True))


def test_without_decay_there_is_one_group() -> None:
    ((group),) = parameter_groups(three_parts(), lr=0.3, layer_decay=1.0)
    assert ([len(one) for one in group["params"]], group["lr"]) == ([1, 2, 3], 0.3)


@pytest.mark.parametrize(
    "schedule",
    [
        Plateau(kind="plateau", factor=0.1, patience_epochs=1, min_lr=0.05),
        OneCycle(kind="one_cycle"),
        Cosine(kind="cosine", final_fraction=0.1),
        Constant(kind="constant"),
    ],
    ids=lambda schedule: schedule.kind,
)
def test_every_schedule_keeps_the_groups_in_proportion(schedule: Schedule) -> None:
    for lr in (1.0, 1e-9):  # torch would leave cuts below 1e-8 out
        floor = {"min_lr": 0.05 * lr} if isinstance(schedule, Plateau) else {}
        optimizer = build_optimizer(Sgd(kind="sgd", lr=lr), parameter_groups(three_parts(), lr=lr, layer_decay=0.1))
        rate = LearningRate(schedule.model_copy(update=floor), optimizer, epochs=4, steps_per_epoch=2)
        seen = []
        for _ in range(4):
            rates = [group["lr"] for group in optimizer.param_groups]
            assert rates == pytest.approx([0.01 * rates[2], 0.1 * rates[2], rates[2]], rel=1e-9)
            assert rate.lr == rates[2]
            seen.append(rates[2] / lr)
            for _ in range(2):
                optimizer.step()
                rate.after_step()
            rate.after_epoch(val_loss=1.0, score=0.0)
        assert (len(set(seen)) == 1) == isinstance(schedule, Constant)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        pytest.param(Adam(kind="adam", lr=0.5, weight_decay=0.1), torch.optim.Adam, id="adam"),
        pytest.param(AdamW(kind="adamw", lr=0.5, weight_decay=0.1), torch.optim.AdamW, id="adamw"),
        pytest.param(Sgd(kind="sgd", lr=0.5, weight_decay=0.1, momentum=0.3, nesterov=True), torch.optim.SGD, id="sgd"),
        pytest.param(RmsProp(kind="rmsprop", lr=0.5, weight_decay=0.1), torch.optim.RMSprop, id="rmsprop"),
    ],
)
def test_an_optimiser_holds_what_its_config_says(config: Optimizer, kind: type) -> None:
    optimizer = build_optimizer(config, [nn.Parameter(torch.zeros(1))])
    assert type(optimizer) is kind
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (0.5, 0.1)


@pytest.mark.parametrize(
    ("images", "batch_size", "batches"),
    [
        pytest.param(64, 32, 2, id="even"),
        pytest.param(66, 32, 3, id="a-rest"),
        pytest.param(65, 32, 2, id="a-last-image-joins-the-batch-before"),
        pytest.param(1, 32, 1, id="one-image"),
        pytest.param(3, 1, 3, id="batches-of-one-stay"),
    ],
)
def test_steps_of_an_epoch(images: int, batch_size: int, batches: int) -> None:
    assert steps_per_epoch(images, batch_size) == batches
