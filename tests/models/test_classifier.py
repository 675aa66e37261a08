import time

import pytest
import torch
from torch import Tensor, nn

from tests.models.conftest import WriteWeights
from tune_cnn.errors import SpaceFileError, TrialError, WeightsError
from tune_cnn.models.catalogue import facts
from tune_cnn.models.classifier import Classifier, build_classifier
from tune_cnn.models.units import batch_norms, count_weights, units_of, weight_layers
from tune_cnn.sections.model import Freeze, HeadConfig, ModelConfig

STILL_NETS = ("resnet18", "tf_efficientnet_lite0", "mobilenetv3_large_100", "densenet121")
DOZEN = (
    *STILL_NETS,
    "mobilenetv2_100",
    "resnet50",
    "efficientnet_b2",
    "convnext_tiny",
    "regnety_004",
    "mobilenetv4_conv_small",
    "inception_v3",
    "vgg16",
    "vgg19_bn",
)


def config(backbone: str = "resnet18", **values: object) -> ModelConfig:
    return ModelConfig.model_validate({"backbone": backbone, "weights": "none", **values})


def build(backbone: str = "resnet18", classes: int = 3, seed: int = 0, **values: object) -> Classifier:
    torch.manual_seed(seed)
    return build_classifier(config(backbone, **values), classes)


def states(model: Classifier) -> list[dict[str, Tensor]]:
    """Weights and running statistics, by unit; the head last."""
    modules = [*(module for _, module in units_of(model.backbone)), model.head]
    return [{name: value.clone() for name, value in module.state_dict().items()} for module in modules]


def train_steps(model: Classifier, steps: int = 2, px: int = 64) -> None:
    """Train as a loop does: `train()` at the start of each epoch, with weight decay and momentum on."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trainable, lr=0.05, momentum=0.9, weight_decay=0.01)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        model.train()
        images = torch.randn(4, 3, px, px, generator=generator) * 3 + 1
        loss = nn.functional.cross_entropy(model(images), torch.tensor([0, 1, 2, 0]))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


@pytest.mark.parametrize("depth", [0.0, 0.4, 0.75, 1.0])
@pytest.mark.parametrize("backbone", STILL_NETS)
def test_frozen_units_stand_still_to_the_bit_and_the_others_move(backbone: str, depth: float) -> None:
    model = build(backbone, freeze={"depth": depth})
    before = states(model)
    train_steps(model)
    after = states(model)
    frozen = model.frozen_units
    assert frozen == round(depth * len(model.units))
    for unit in range(frozen):
        assert all(torch.equal(before[unit][name], after[unit][name]) for name in before[unit]), model.units[unit]
    for unit in range(frozen, len(before)):
        moved = {name for name, value in before[unit].items() if not torch.equal(value, after[unit][name])}
        assert moved == set(before[unit]), f"unit {unit} of {backbone}"


def test_frozen_dropout_drops_nothing_and_live_dropout_does() -> None:
    model = build(freeze={"depth": 1.0}, head={"hidden": [32], "dropout": 0.5})
    unit = dict(units_of(model.backbone))["layer4.1"]
    unit.add_module("dropout", nn.Dropout(0.5))
    model.train()
    assert not unit.dropout.training  # type: ignore[union-attr]
    assert all(layer.training for layer in model.head.modules())


def test_warm_up_freezes_all_and_then_wakes_what_is_not_frozen() -> None:
    model = build(freeze={"last_units": 3})
    _, asked = model.parameter_counts()
    model.freeze_to(len(model.units))
    warm = states(model)
    train_steps(model, steps=1)
    assert all(
        torch.equal(one[name], two[name])
        for one, two in zip(warm[:-1], states(model)[:-1], strict=True)
        for name in one
    )
    assert model.parameter_counts()[1] == sum(parameter.numel() for parameter in model.head.parameters())
    model.freeze_to(len(model.units) - 3)
    assert model.parameter_counts()[1] == asked
    train_steps(model, steps=1)
    assert not torch.equal(warm[-3]["bn1.running_mean"], states(model)[-3]["bn1.running_mean"])


def test_units_that_wake_in_eval_mode_stay_in_eval_mode() -> None:
    model = build(freeze={"depth": 1.0}).eval()
    model.freeze_to(0)
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("units", [-1, 99])
def test_freezing_more_units_than_there_are_is_refused(units: int) -> None:
    with pytest.raises(ValueError, match=f"{units} units to freeze, but the backbone has 13"):
        build().freeze_to(units)


def test_autograd_records_nothing_of_the_frozen_prefix() -> None:
    model = build(freeze={"stride": 32})
    recorded: dict[str, bool] = {}
    for name, unit in units_of(model.backbone):
        unit.register_forward_hook(lambda _m, _i, output, name=name: recorded.update({name: output.requires_grad}))
    model(torch.zeros(2, 3, 64, 64))
    assert [recorded[name] for name in model.units] == [unit >= model.frozen_units for unit in range(len(model.units))]


def test_a_frozen_prefix_gives_what_the_same_network_in_eval_mode_gives() -> None:
    images = torch.randn(4, 3, 64, 64)
    model = build("tf_efficientnet_lite0", freeze={"depth": 1.0})
    reference = model.backbone(images)
    assert torch.equal(model.eval().backbone(images), reference)


def test_a_step_on_a_frozen_backbone_is_faster_than_on_a_live_one() -> None:
    images, seconds = torch.randn(8, 3, 96, 96), []
    for depth in (0.0, 1.0):
        model = build(freeze={"depth": depth})
        model(images).sum().backward()
        start = time.process_time()
        for _ in range(3):
            model(images).sum().backward()
        seconds.append(time.process_time() - start)
    assert seconds[1] < seconds[0]


@pytest.mark.parametrize("backbone", DOZEN)
def test_live_units_are_those_of_the_catalogue_and_run_in_order(backbone: str) -> None:
    known = facts(backbone)
    with torch.device("meta"):
        model = build(backbone, classes=5).eval()
    order: list[str] = []
    for name, unit in units_of(model.backbone):
        unit.register_forward_hook(lambda _m, _i, _o, name=name: order.append(name))
    with torch.device("meta"), torch.inference_mode():
        logits = model(torch.zeros(2, 3, known.px, known.px))
        assert tuple(order) == model.units
        features = model.backbone(torch.zeros(1, 3, known.least_px, known.least_px))
    assert tuple(weight_layers(unit) for _, unit in units_of(model.backbone)) == known.line.weight_layers
    assert logits.shape == (2, 5)
    assert features.shape == (1, known.features)
    assert count_weights(model.backbone)[0] == known.parameters


def test_layers_after_the_pooling_are_units_too() -> None:
    model = build("mobilenetv3_large_100", freeze={"last_layers": 1})
    assert model.units[-4:] == ("global_pool", "conv_head", "act2", "flatten")
    live = [name for name, parameter in model.backbone.named_parameters() if parameter.requires_grad]
    assert live == ["conv_head.weight", "conv_head.bias"]


def test_the_same_seed_builds_the_same_network() -> None:
    one, same, other = (build("mobilenetv2_100", seed=seed, head={"hidden": [8]}).state_dict() for seed in (7, 7, 8))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["head.0.weight"], other["head.0.weight"])


def test_facts_are_read_from_the_live_modules() -> None:
    model = build(freeze={"stride": 16}, head={"hidden": [8, 4], "dropout": 0.25, "batch_norm": True}, classes=3)
    modes = model.batch_norm_modes()
    assert (modes.still, modes.live) == (10, 12)
    assert model.dropout() == (0.25, 0.25)
    assert model.head_widths() == (8, 4, 3)
    assert model.preprocessing == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    next(layer for layer in model.head.modules() if isinstance(layer, nn.Dropout)).p = 0.9
    assert model.dropout() == (0.9, 0.25)


def test_asking_for_the_batch_norm_modes_leaves_the_mode_alone() -> None:
    model = build().eval()
    assert model.batch_norm_modes().live == len(batch_norms(model))
    assert not any(module.training for module in model.modules())


def test_a_single_image_cannot_train_a_head_with_batch_norm() -> None:
    model = build(head={"hidden": [8], "batch_norm": True})
    with pytest.raises(TrialError, match=r"write training\.batch_size: 2 or more, or model\.head\.batch_norm: false"):
        model(torch.zeros(1, 3, 64, 64))
    assert model.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


def test_a_single_image_can_train_a_head_without_batch_norm() -> None:
    assert build(freeze={"depth": 1.0})(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        pytest.param({"backbone": "resnet19"}, SpaceFileError, "unknown backbone 'resnet19'", id="unknown-backbone"),
        pytest.param(
            {"freeze": Freeze(last_units=14)}, SpaceFileError, "model.freeze: 14 units to train", id="too-deep"
        ),
        pytest.param({"weights": "imagenet"}, WeightsError, "was not resolved to a file", id="unresolved-weights"),
        pytest.param(
            {"weights": "imagenet", "weights_file": "/no/such.safetensors"},
            WeightsError,
            "no such file",
            id="lost-file",
        ),
    ],
)
def test_what_cannot_be_built_is_a_clear_error(values: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        build_classifier(config().model_copy(update=values), 3)
    assert message in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_weights_of_a_file_are_loaded_as_float32(write_weights: WriteWeights, dtype: torch.dtype) -> None:
    file = write_weights("mobilenetv2_100", "w.safetensors", seed=5, dtype=dtype)
    model = build("mobilenetv2_100", seed=9, weights="imagenet", weights_file=str(file))
    original = build("mobilenetv2_100", seed=5).backbone.state_dict()
    for name, value in model.backbone.state_dict().items():
        assert value.dtype in (torch.float32, torch.int64)
        assert torch.equal(
            value, original[name].to(dtype).to(value.dtype) if value.is_floating_point() else original[name]
        )


def test_random_weights_are_random_even_if_a_file_is_known(write_weights: WriteWeights) -> None:
    file = write_weights("resnet18", "w.safetensors", seed=5)
    model = build(seed=9, weights="none", weights_file=str(file))
    assert torch.equal(model.backbone.state_dict()["conv1.weight"], build(seed=9).backbone.state_dict()["conv1.weight"])


def test_a_hidden_head_trains_with_its_batch_norm_live() -> None:
    model = build(freeze={"depth": 1.0}, head=HeadConfig(hidden=(8,), batch_norm=True).model_dump())
    before = states(model)[-1]
    train_steps(model)
    assert all(not torch.equal(value, before[name]) for name, value in states(model)[-1].items())
