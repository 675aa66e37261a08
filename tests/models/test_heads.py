import pytest
import torch
from torch import nn

from tune_cnn.models.heads import build_head
from tune_cnn.sections.layers import ConvLayer
from tune_cnn.sections.model import HeadConfig


@pytest.mark.parametrize(
    ("config", "layers"),
    [
        pytest.param(HeadConfig(), ["Dropout", "Linear"], id="without-hidden-layers"),
        pytest.param(HeadConfig(hidden=(8,)), ["Linear", "ReLU", "Dropout", "Linear"], id="one-hidden-layer"),
        pytest.param(
            HeadConfig(hidden=(8, 4), batch_norm=True),
            ["Linear", "BatchNorm1d", "ReLU", "Dropout"] * 2 + ["Linear"],
            id="batch-norm-after-each-hidden-layer",
        ),
        pytest.param(HeadConfig(batch_norm=True), ["Dropout", "Linear"], id="no-hidden-layer-no-batch-norm"),
    ],
)
def test_the_head_is_built_as_written(config: HeadConfig, layers: list[str]) -> None:
    head = build_head(16, config, 3)
    assert [type(layer).__name__ for layer in head.children()] == layers
    assert head.eval()(torch.zeros(5, 16)).shape == (5, 3)


@pytest.mark.parametrize(
    ("config", "layers"),
    [
        pytest.param(HeadConfig(), ["AdaptiveAvgPool2d", "Flatten", "Dropout", "Linear"], id="pooled"),
        pytest.param(HeadConfig(features="flat"), ["Flatten", "Dropout", "Linear"], id="flat"),
        pytest.param(
            HeadConfig(features="flat", convolutions=(ConvLayer(conv=5),), hidden=(8,)),
            ["ConvBlock", "Flatten", "Linear", "ReLU", "Dropout", "Linear"],
            id="convolutions-then-dense",
        ),
        pytest.param(
            HeadConfig(convolutions=(ConvLayer(conv=5, repeat=2),)),
            ["ConvBlock", "ConvBlock", "AdaptiveAvgPool2d", "Flatten", "Dropout", "Linear"],
            id="convolutions-then-the-mean",
        ),
    ],
)
def test_a_head_on_a_map_begins_where_the_map_ends(config: HeadConfig, layers: list[str]) -> None:
    head = build_head(16, config, 3, map_px=4)
    assert [type(layer).__name__ for layer in head.children()] == layers
    assert head.eval()(torch.zeros(5, 16, 4, 4)).shape == (5, 3)


def test_every_dropout_has_the_rate_that_is_written() -> None:
    head = build_head(16, HeadConfig(hidden=(8, 4), dropout=0.3), 3)
    assert [layer.p for layer in head.modules() if isinstance(layer, nn.Dropout)] == [0.3, 0.3]
