"""A cut network: the tail answers as the whole one does, and training the one trains the other."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.training.networks import NO_CHANGE, images, short_of_memory, tiny
from tune_cnn.models.build import build_network
from tune_cnn.models.classifier import Classifier
from tune_cnn.models.cut import InexactCutError
from tune_cnn.models.freeze import UnitLine
from tune_cnn.models.network import Network
from tune_cnn.models.segmenter import _DECODERS
from tune_cnn.models.tail import as_inputs, cut_network, freeze_depths, still_units
from tune_cnn.models.units import batch_norms
from tune_cnn.sections.model import ModelConfig

CUSTOM = {"kind": "custom", "layers": [{"conv": 4, "pool": 2}, {"conv": 6, "batch_norm": True, "dropout": 0.5}]}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Several would wait for each other on a machine that is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def build(backbone: Any, *, px: int = 32, **values: Any) -> Network:
    """A network whose BatchNorm layers do something in evaluation too."""
    torch.manual_seed(0)
    custom = {} if isinstance(backbone, dict) else {"weights": "none"}
    config = ModelConfig.model_validate({"backbone": backbone, **custom, **values})
    model = build_network(config, 3, px=px)
    for layer in batch_norms(model):
        layer.get_buffer("running_mean").uniform_(-0.2, 0.2)
        layer.get_buffer("running_var").uniform_(0.5, 1.5)
    return model


def as_fed(count: int, px: int = 32) -> Tensor:
    """Images in the order in memory in which batches come."""
    return images(count, px).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("backbone", "values", "px"),
    [
        pytest.param("mobilenetv3_small_050", {}, 32, id="mobilenetv3"),
        pytest.param("resnet18", {"stages": 2}, 32, id="resnet-cut-to-two-stages"),
        pytest.param(CUSTOM, {"head": {"features": "flat", "hidden": [4], "batch_norm": True}}, 16, id="custom"),
        *(
            pytest.param(name, {}, px, id=name, marks=pytest.mark.slow)
            for name, px in (
                ("mobilenetv3_large_100", 64), ("mobilenetv2_100", 64), ("resnet50", 64), ("vgg16", 32),
                ("vgg19_bn", 32), ("efficientnet_b2", 64), ("tf_efficientnet_lite0", 64), ("convnext_tiny", 64),
                ("regnety_004", 64), ("densenet121", 64), ("mobilenetv4_conv_small", 64), ("inception_v3", 128),
            )
        ),
    ],
)  # fmt: skip
def test_every_cut_is_exact_to_the_bit(backbone: Any, values: Any, px: int) -> None:
    model = build(backbone, px=px, **values)
    batch = as_fed(2, px)
    assert len(freeze_depths(model)) > len(model.units) / 3  # of a plain VGG only convolutions have weights
    for units in freeze_depths(model):
        cut = cut_network(model, units, batch)
        (activation,) = cut.prove(batch)
        with torch.inference_mode():
            assert torch.equal(cut.tail.eval()(activation), model.eval()(batch))
        assert cut.tail.units == model.units[units:]


def state(model: Network) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def step(model: Network, network: Network, inputs: Any) -> dict[str, Tensor]:
    """Train a network for a step, and give the state of the model afterwards."""
    optimizer = torch.optim.SGD([one for one in model.parameters() if one.requires_grad], lr=0.1)
    torch.manual_seed(7)  # the same dropout
    network.train()
    target = torch.arange(4) % 3
    nn.functional.cross_entropy(network(inputs), target).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return state(model)


@pytest.mark.parametrize(("frozen", "units"), [(9, 6), (18, 18)])
def test_to_train_the_tail_is_to_train_the_whole(frozen: int, units: int) -> None:
    values: dict[str, Any] = {"freeze": {"last_units": 18 - frozen}, "head": {"dropout": 0.3}}
    whole, model = (build("mobilenetv3_small_050", **values) for _ in range(2))
    batch = as_fed(4)
    cut = cut_network(model, units, batch)
    before = state(model)
    after = step(model, cut.tail, as_inputs(tuple(one.clone() for one in cut.activation(batch))))
    expected = step(whole, whole, batch)
    assert all(torch.equal(after[name], expected[name]) for name in expected)
    assert any(not torch.equal(after[name], before[name]) for name in before)
    assert {id(one) for one in cut.tail.parameters()} <= {id(one) for one in model.parameters()}
    assert {id(one) for one in cut.tail.buffers()} <= {id(one) for one in model.buffers()}


def test_frozen_units_behind_the_cut_stay_asleep_and_the_others_wake() -> None:
    model = build("resnet18", freeze={"last_units": 3})
    tail = cut_network(model, 8, as_fed(2)).tail
    assert tail.frozen_units == 2
    awake = [any(module.training for module in unit.modules()) for unit in tail.train().unit_modules()]
    assert awake == [False, False, True, True, True]


FAST = ("unet", "fpn")


@pytest.mark.parametrize(
    "decoder", [pytest.param(one, marks=() if one in FAST else pytest.mark.slow) for one in _DECODERS]
)
def test_a_decoder_is_given_the_maps_it_looks_into_and_no_more(decoder: str) -> None:
    px = 32 if decoder in FAST else 128
    model = build("mobilenetv3_small_050" if decoder in FAST else "resnet18", px=px, decoder=decoder)
    batch = as_fed(2, px)
    cut = cut_network(model, len(model.units), batch)
    kept = cut.prove(batch)
    assert len(kept) == len(cut.needed) < 6
    assert 0 not in cut.needed, "no decoder looks at the images themselves"
    assert len(cut.tail.trunk.state_dict()) == 0
    if decoder in ("deeplabv3", "pspnet"):
        assert len(cut.needed) == 1


def test_an_encoder_is_cut_at_its_end_alone() -> None:
    model = build("mobilenetv3_small_050", decoder="fpn")
    with pytest.raises(InexactCutError, match="all maps of its 15 units are needed"):
        cut_network(model, 5, as_fed(2))


class Shortcut(nn.Module):
    """Adds what the first of three units gives to what the last one gives: past the second."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 1)
        self.second = nn.Conv2d(6, 6, 1)
        self.third = nn.Conv2d(6, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        out: Tensor = x + self.third(self.second(x))
        return out


class Pair(nn.Module):
    """Hands on two maps."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


def on_top_of(backbone: nn.Module, units: int) -> Classifier:
    top = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))
    return Classifier(backbone, top, UnitLine((1,) * units, (1,) * units), NO_CHANGE)


def test_a_cut_through_a_shortcut_is_told() -> None:
    model = on_top_of(Shortcut(), 3)
    for units in (1, 3):  # at these places all that follows comes from one map
        cut_network(model, units, images(2)).prove(images(2))
    cut = cut_network(model, 2, images(2))
    with pytest.raises(InexactCutError, match="cut after unit 2, it gives other logits"):
        cut.prove(images(2))


def test_a_unit_that_hands_on_more_than_one_map_is_no_place_to_cut() -> None:
    model = tiny(Pair(), nn.Conv2d(6, 6, 1))
    with pytest.raises(InexactCutError, match="unit 2 hands on more than one map"):
        cut_network(model, 2, images(2)).activation(images(2))


def test_a_tail_that_begins_with_an_activation_in_place_is_no_tail() -> None:
    model = tiny(nn.ReLU(inplace=True), nn.Conv2d(6, 6, 1))
    with pytest.raises(InexactCutError, match="cut after unit 1, it changes what it is given"):
        cut_network(model, 1, images(2)).prove(images(2))
    cut_network(model, 2, images(2)).prove(images(2))


def test_a_cut_is_not_judged_by_memory_that_did_not_suffice() -> None:
    model = tiny(nn.Conv2d(6, 6, 1))
    short_of_memory(model, images=1)
    with pytest.raises(torch.OutOfMemoryError):
        cut_network(model, 2, images(2)).prove(images(2))


def test_weights_outside_the_units_forbid_a_cut() -> None:
    model = tiny(nn.ReLU())
    model.backbone.register_parameter("scale", nn.Parameter(torch.ones(1)))
    with pytest.raises(InexactCutError, match="weights outside its units"):
        cut_network(model, 1, images(2))


def test_what_has_nothing_to_train_stands_still_with_the_units_before_it() -> None:
    model = tiny(nn.ReLU(), nn.Conv2d(6, 6, 1), nn.MaxPool2d(2))
    model.freeze_to(1)
    assert still_units(model) == 2
    model.freeze_to(0)
    assert still_units(model) == 0, "the first unit trains"
    assert freeze_depths(model) == (2, 4)


def test_dropout_draws_in_training_and_so_never_stands_still() -> None:
    model = tiny(nn.Sequential(nn.ReLU()), nn.ModuleDict({"drop": nn.Dropout(0.5)}))
    model.freeze_to(1)
    assert still_units(model) == 2
