import copy
import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.training.networks import images, short_of_memory, tiny
from tune_cnn.errors import TrialError
from tune_cnn.models.network import Network
from tune_cnn.sections.data import IGNORED_ID
from tune_cnn.sections.training import LossTerm, Sgd, TrainingConfig
from tune_cnn.training.losses import TrainLoss
from tune_cnn.training.objective import objective_for
from tune_cnn.training.precision import FULL, Precision
from tune_cnn.training.schedule import build_optimizer
from tune_cnn.training.step import TrainStep

CPU = torch.device("cpu")
WEIGHT = torch.tensor([0.3, 1.0, 2.5])
LOSSES: dict[str, Callable[[], TrainLoss]] = {
    "cross-entropy": lambda: TrainLoss(["cross_entropy"]),
    "weighed-and-smoothed": lambda: TrainLoss(["cross_entropy"], weight=WEIGHT, label_smoothing=0.1),
    "ignoring": lambda: TrainLoss(["cross_entropy"], weight=WEIGHT, ignored_id=IGNORED_ID),
    "focal": lambda: TrainLoss(["focal"], weight=WEIGHT, ignored_id=IGNORED_ID),
    "dice": lambda: TrainLoss(["dice"], ignored_id=IGNORED_ID),
    "sum-of-all": lambda: TrainLoss(["cross_entropy", "focal", "dice"], weight=WEIGHT, ignored_id=IGNORED_ID),
}


def step_of(network: Network, loss: TrainLoss, precision: Precision = FULL, *, lr: float = 0.1) -> TrainStep:
    step = TrainStep(loss, precision, CPU)
    step.begin(network, build_optimizer(Sgd(kind="sgd", lr=lr, momentum=0.0), list(network.parameters())))
    network.train()
    return step


def per_pixel(count: int, *, ignored: bool) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    target = torch.randint(0, 3, (count, 8, 8), generator=generator)
    target[:, :2] = 0  # classes of very different size, and images of different weight
    target[0] = 2
    return target.where(torch.rand(count, 8, 8, generator=generator) > 0.4, IGNORED_ID) if ignored else target


@pytest.mark.parametrize("layer", [nn.ReLU(), nn.Dropout2d(0.4), nn.BatchNorm2d(6)], ids=["plain", "dropout", "norm"])
@pytest.mark.parametrize("name", LOSSES)
def test_in_micro_batches_loss_and_gradient_are_those_of_the_whole_batch(name: str, layer: nn.Module) -> None:
    """What differs from one pass is what BatchNorm normalises by; so compare with logits made part by part."""
    loss, targets = LOSSES[name](), per_pixel(7, ignored=LOSSES[name]().ignored_id is not None)
    network = tiny(copy.deepcopy(layer), per_pixel=True)
    other = copy.deepcopy(network).train()
    step = step_of(short_of_memory(network, 3), loss)
    step.micro.size = 3
    torch.manual_seed(5)
    predicted, found = step(images(7), targets)
    torch.manual_seed(5)
    logits = torch.cat([other(piece) for piece in images(7).tensor_split(3)])
    wanted = loss(logits, targets)
    wanted.backward()
    assert float(found) == pytest.approx(float(wanted.detach()), rel=1e-5)
    assert torch.equal(predicted, logits.argmax(dim=1))
    for mine, its in zip(network.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, its.grad, rtol=1e-4, atol=1e-6)


def test_a_batch_that_fits_is_one_plain_step() -> None:
    network = tiny(nn.BatchNorm2d(6), nn.Dropout2d(0.2))
    other, targets = copy.deepcopy(network).train(), torch.tensor([0, 1, 2, 1])
    step = step_of(network, LOSSES["weighed-and-smoothed"]())
    torch.manual_seed(5)
    step(images(4), targets)
    torch.manual_seed(5)
    loss = nn.functional.cross_entropy(other(images(4)), targets, WEIGHT, label_smoothing=0.1)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.optim.SGD(other.parameters(), lr=0.1).step()
    for mine, its in zip(network.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(mine, its)


def test_running_statistics_move_by_a_batch_as_if_there_had_been_one_pass() -> None:
    """Though the first attempt has been through the BatchNorm before memory ran out, and Dice takes a pass more."""
    network = tiny(nn.BatchNorm2d(6, momentum=0.3), per_pixel=True)
    other = copy.deepcopy(network).train()
    step = step_of(short_of_memory(network, 3), LOSSES["sum-of-all"](), lr=1e-9)
    for _ in range(2):
        step(images(8), per_pixel(8, ignored=True))
        other(images(8))
    mine, its = (next(one for one in net.modules() if isinstance(one, nn.BatchNorm2d)) for net in (network, other))
    torch.testing.assert_close(mine.running_mean, its.running_mean)
    torch.testing.assert_close(mine.running_var, its.running_var, rtol=0.05, atol=0.01)
    assert (int(mine.num_batches_tracked or 0), mine.momentum) == (2, 0.3)


@pytest.mark.parametrize(
    ("batch", "holds", "least", "size"),
    [
        pytest.param(8, 8, 1, None, id="fits"),
        pytest.param(8, 7, 1, 4, id="halved"),
        pytest.param(8, 3, 1, 2, id="halved-twice"),
        pytest.param(7, 3, 1, 3, id="odd"),
        pytest.param(8, 1, 1, 1, id="one-by-one"),
        pytest.param(5, 3, 2, 2, id="never-one-alone-where-two-are-needed"),
    ],
)
def test_batches_are_halved_until_they_fit_and_stay_so(
    batch: int, holds: int, least: int, size: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    network = short_of_memory(tiny(), holds)
    step = step_of(network, LOSSES["cross-entropy"]())
    step.micro.least = least
    targets = torch.arange(batch) % 3
    with caplog.at_level(logging.WARNING, "tune_cnn"):
        step(images(batch), targets)
        told = len(caplog.records)
        step(images(batch), targets)
    assert step.micro.size == size
    assert (len(caplog.records), told > 0) == (told, size is not None)


def test_where_not_even_the_least_fits_the_trial_fails_with_what_to_write() -> None:
    step = step_of(short_of_memory(tiny(), 1), LOSSES["cross-entropy"]())
    step.micro.least = 2
    with pytest.raises(TrialError, match=r"training\.batch_size .* 2 image\(s\) at once; write a smaller image\.px"):
        step(images(8), torch.arange(8) % 3)


def test_another_error_is_not_taken_for_too_little_memory() -> None:
    step = step_of(tiny(), LOSSES["cross-entropy"]())
    with pytest.raises(RuntimeError, match="expected input"):
        step(torch.zeros(4, 5, 8, 8), torch.arange(4) % 3)
    assert step.micro.size is None


def test_too_little_memory_of_a_cpu_is_known_by_its_text() -> None:
    network = tiny()

    def greedy(_module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if len(arguments[0]) > 2:
            torch.empty(2**60)

    network.head.register_forward_pre_hook(greedy)
    step = step_of(network, LOSSES["cross-entropy"]())
    step(images(4), torch.arange(4) % 3)
    assert step.micro.size == 2


def test_several_maps_of_features_are_cut_alike() -> None:
    class Adding(nn.Module):
        def forward(self, maps: Tensor | tuple[Tensor, ...]) -> Tensor:
            total: Tensor = sum(maps) if isinstance(maps, tuple) else maps  # type: ignore[assignment]
            return total

    network = short_of_memory(tiny(), 2)
    network.trunk[0] = Adding()  # type: ignore[operator]
    step = step_of(network, LOSSES["cross-entropy"]())
    maps = torch.randn(5, 6, 4, 4)
    predicted, _ = step((maps, -maps), torch.arange(5) % 3)
    assert len(predicted) == 5
    assert step.micro.size == 2


class Waiting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every operation whose result the processor would have to wait for."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        by_mask = name == "index" and any(one is not None and one.dtype is torch.bool for one in args[1])
        if by_mask or name in {"_local_scalar_dense", "nonzero", "bincount", "masked_select", "unique", "equal"}:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("size", [None, 3], ids=["whole", "micro-batches"])
@pytest.mark.parametrize("terms", [["cross_entropy"], ["cross_entropy", "focal", "dice"]], ids=["one", "all"])
def test_a_step_and_its_count_never_wait_for_the_device(terms: list[LossTerm], size: int | None) -> None:
    network = tiny(nn.BatchNorm2d(6), nn.Dropout2d(0.2), per_pixel=True)
    step = step_of(network, TrainLoss(terms, weight=WEIGHT, ignored_id=IGNORED_ID))
    step.micro.size = size
    counter = objective_for("segmentation", TrainingConfig(), [5, 5, 5]).counter(CPU)
    inputs, targets = images(7), per_pixel(7, ignored=True)
    with Waiting() as waiting:
        predicted, loss = step(inputs, targets)
        counter.add(predicted, targets, loss)
    assert waiting.seen == []
    with Waiting() as waiting:
        counter.scores()
    assert waiting.seen  # the same watch sees what does wait


def test_half_precision_computes_in_bfloat16_and_keeps_weights_and_loss_in_float32() -> None:
    network, seen = tiny(), []
    network.head[-1].register_forward_hook(lambda _module, _arguments, logits: seen.append(logits.dtype))  # type: ignore[index]
    step = step_of(network, LOSSES["cross-entropy"](), Precision("bfloat16"))
    targets = torch.arange(6) % 3
    losses = [float(step(images(6), targets)[1]) for _ in range(30)]
    assert seen[0] is torch.bfloat16
    assert {one.dtype for one in network.parameters()} == {torch.float32}
    assert losses[-1] < losses[0]
