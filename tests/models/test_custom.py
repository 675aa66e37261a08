"""Networks from scratch: what is built is what was planned without torch, and has the published number of weights."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tune_cnn.errors import SpaceFileError, WeightsError
from tune_cnn.models.classifier import Classifier, build_classifier
from tune_cnn.models.custom import CustomNetwork, blocks
from tune_cnn.models.layer_plan import ShapeError, line_of, size_after
from tune_cnn.models.units import units_of, weight_layers
from tune_cnn.sections.layers import ConvLayer
from tune_cnn.sections.model import ModelConfig


def layer(**values: Any) -> ConvLayer:
    return ConvLayer.model_validate({"conv": 4, **values})


def build(layers: list[dict[str, Any]], *, classes: int = 3, px: int = 32, **model: Any) -> Classifier:
    torch.manual_seed(0)
    whole = {"backbone": {"kind": "custom", "layers": layers}, **model}
    return build_classifier(ModelConfig.model_validate(whole), classes, px=px)


def normed(conv: int, **values: Any) -> dict[str, Any]:
    return {"conv": conv, "batch_norm": True, **values}


BASENET = [{"conv": conv, "kernel": 5, "padding": "valid", "pool": 2} for conv in (6, 16)]
BASENET_PP = [
    normed(128),
    normed(128, padding="valid", pool=2),
    normed(64, kernel=5, padding="valid", pool=2),
]
SIX_CONVOLUTIONS = [normed(conv, pool=pool) for conv in (32, 64, 128) for pool in (None, 2)]


@pytest.mark.parametrize(
    ("layers", "head", "classes", "weights", "training"),
    [
        pytest.param(BASENET, {"features": "flat", "hidden": [50]}, 25, 24_197, 24_197, id="BaseNet"),
        pytest.param(
            BASENET_PP,
            {"features": "flat", "hidden": [256, 128, 64], "dropout": 0.25},
            25,
            809_945,
            809_305,
            id="BaseNet++",
        ),
        pytest.param(SIX_CONVOLUTIONS, {"features": "flat"}, 10, 309_290, 308_394, id="six-convolutions-of-study-3"),
    ],
)
def test_networks_of_the_studies_have_their_numbers_of_weights(
    layers: list[dict[str, Any]], head: dict[str, Any], classes: int, weights: int, training: int
) -> None:
    model = build(layers, classes=classes, head=head)
    assert model.parameter_counts() == (weights, training)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, classes)


def test_vgg16_cut_after_its_third_block_has_the_trainable_weights_of_study_3() -> None:
    head = {"hidden": [256, 256], "batch_norm": True}
    cut = {"backbone": "vgg16", "weights": "none", "stages": 3, "freeze": {"depth": 1.0}, "head": head}
    model = build_classifier(ModelConfig.model_validate(cut), 10, px=32)
    assert model.parameter_counts()[1] == 134_666
    assert sum(one.numel() for one in model.backbone.parameters()) == 1_735_488  # seven convolutions


@pytest.mark.parametrize("padding", ["same", "valid", 1])
@pytest.mark.parametrize("pool", [{}, {"pool": 2}, {"pool": 3, "pool_kind": "avg"}], ids=str)
def test_the_plan_gives_the_sizes_that_torch_gives(padding: str | int, pool: dict[str, Any]) -> None:
    for kernel, stride, px in itertools.product((1, 2, 3, 5), (1, 2, 3), (11, 12)):
        if padding == 1 and kernel == 1:
            continue  # refused by the section
        layers = [layer(kernel=kernel, stride=stride, padding=padding, **pool)]
        out = CustomNetwork(layers).forward_features(torch.zeros(1, 3, px, px))
        assert out.shape == (1, 4, size_after(layers, px), size_after(layers, px)), (kernel, stride, px)


def test_the_plan_gives_the_units_that_torch_builds() -> None:
    layers = [layer(pool=2, repeat=2, dropout=0.1), layer(conv=8, stride=2, padding="same", batch_norm=True)]
    line = line_of(layers)
    assert (line.weight_layers, line.strides) == ((1, 1, 2), (2, 4, 8))
    assert tuple(weight_layers(unit) for _, unit in units_of(CustomNetwork(layers))) == line.weight_layers


@pytest.mark.parametrize(
    ("layers", "px", "place", "says"),
    [
        pytest.param(
            [layer(pool=2), layer(pool=2), layer(kernel=5, padding="valid")],
            16,
            2,
            "kernel 5 of conv 4 is larger than the 4 x 4 px that are left for it; write kernel: 4 at most",
            id="kernel",
        ),
        pytest.param(
            [layer(pool=2, repeat=5)], 16, 0, "pool 2 after conv 4 is larger than the 1 x 1 px", id="pool-repeated"
        ),
        pytest.param([layer(kernel=7, padding=2)], 2, 0, "write kernel: 6 at most", id="kernel-with-padding"),
    ],
)
def test_a_layer_that_does_not_fit_names_its_place_and_the_sizes(
    layers: list[ConvLayer], px: int, place: int, says: str
) -> None:
    with pytest.raises(ShapeError, match=says) as caught:
        size_after(layers, px)
    assert caught.value.layer == place


def test_following_the_advice_makes_it_fit() -> None:
    assert size_after([layer(pool=2), layer(pool=2), layer(kernel=4, padding="valid")], 16) == 1
    assert size_after([layer(kernel=6, padding=2)], 2) == 1


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param({"kernel": 5, "padding": "valid", "pool": 2}, id="valid"),
        pytest.param({"kernel": 3, "stride": 2, "padding": 1, "batch_norm": True}, id="stride"),
        pytest.param({"kernel": 2, "padding": "same", "pool": 3, "pool_kind": "avg", "dropout": 0.2}, id="average"),
    ],
)
def test_a_layer_is_read_back_from_its_modules_as_it_was_written(asked: dict[str, Any]) -> None:
    (block,) = blocks(3, [layer(**asked)])
    held = block.describe()
    wanted = layer(**asked).model_dump(exclude={"repeat"})
    wanted["padding"] = {"valid": 0}.get(wanted["padding"], wanted["padding"])  # `same` stays for even kernels only
    assert held == wanted


def test_pooled_features_are_the_mean_of_the_map() -> None:
    network = CustomNetwork([layer()]).eval()
    images = torch.randn(2, 3, 8, 8)
    assert torch.allclose(network(images), network.forward_features(images).mean(dim=(2, 3)))


@pytest.mark.parametrize("prefix", ["", "backbone."], ids=["own-file", "saved-model"])
def test_a_custom_backbone_starts_from_a_file_and_may_then_be_frozen(prefix: str, tmp_path: Path) -> None:
    layers = [{"conv": 4, "batch_norm": True}, {"conv": 5}]
    torch.manual_seed(3)
    trained = CustomNetwork([ConvLayer.model_validate(one) for one in layers]).state_dict()
    head = {"head.1.weight": torch.zeros(2, 5)} if prefix else {}
    file = tmp_path / "w.safetensors"
    save_file({f"{prefix}{name}": value for name, value in trained.items()} | head, file)
    model = build(layers, weights=str(file), weights_file=str(file), freeze={"depth": 1.0})
    assert model.frozen_units == 2
    assert all(torch.equal(value, trained[name]) for name, value in model.backbone.state_dict().items())
    with pytest.raises(WeightsError, match="does not hold the weights of the custom backbone: 1 of another shape"):
        build([{"conv": 4, "batch_norm": True, "kernel": 1}, {"conv": 5}], weights=str(file), weights_file=str(file))


def test_a_head_too_large_for_the_map_is_refused_when_it_is_built() -> None:
    head = {"convolutions": [{"conv": 4, "kernel": 9, "padding": "valid"}]}
    with pytest.raises(SpaceFileError, match="kernel 9 of conv 4 is larger than the 8 x 8 px"):
        build([{"conv": 4, "pool": 4}], head=head)
