"""What a model keeps of its backbone: the stages that are cut off are gone, and what is left gives the same map."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tune_cnn.errors import SpaceFileError
from tune_cnn.models.catalogue import facts, find
from tune_cnn.models.classifier import build_classifier, create_backbone
from tune_cnn.models.cut import InexactCutError, cut_and_prove, feature_map, map_after
from tune_cnn.models.freeze import UnitLine, stage_ends
from tune_cnn.models.trunk import frozen_units_of, model_faults, size_faults, trunk_of
from tune_cnn.models.units import units_of
from tune_cnn.sections.model import ModelConfig


def model_of(backbone: Any = "resnet18", **values: Any) -> ModelConfig:
    custom = {} if isinstance(backbone, dict) else {"weights": "none"}
    return ModelConfig.model_validate({"backbone": backbone, **custom, **values})


@pytest.mark.parametrize(
    ("line", "ends"),
    [
        pytest.param(UnitLine((1, 1, 0, 0, 4, 6, 6), (2, 2, 2, 4, 4, 8, 8)), (4, 5, 7), id="stem-pooling-closes"),
        pytest.param(UnitLine((1, 0, 0, 1, 0, 0), (1, 1, 2, 2, 2, 4)), (3, 6), id="a-block-ends-with-its-pooling"),
        pytest.param(UnitLine((0, 1), (2, 2)), (2,), id="nothing-with-weights-before"),
        pytest.param(UnitLine((), ()), (), id="empty"),
    ],
)
def test_stages_end_where_the_resolution_falls(line: UnitLine, ends: tuple[int, ...]) -> None:
    assert stage_ends(line) == ends


@pytest.mark.parametrize(
    ("backbone", "last_units", "channels"),
    [
        pytest.param(
            "resnet50",
            ["maxpool", "layer1.2", "layer2.3", "layer3.5", "layer4.2"],
            (64, 256, 512, 1024, 2048),
            id="resnet50",
        ),
        pytest.param(
            "vgg16",
            ["features.4", "features.9", "features.16", "features.23", "features.30"],
            (64, 128, 256, 512, 512),
            id="vgg16-with-the-poolings",
        ),
    ],
)
def test_well_known_networks_have_the_stages_of_their_papers(
    backbone: str, last_units: list[str], channels: tuple[int, ...]
) -> None:
    known = facts(backbone)
    with torch.device("meta"):
        units = [name for name, _ in units_of(create_backbone(backbone))]
    ends = stage_ends(known.line.first(known.map_units))
    assert [units[end - 1] for end in ends] == last_units
    assert known.stage_channels == channels


@pytest.mark.parametrize(
    ("backbone", "stages"),
    [("resnet18", 1), ("resnet18", 3), ("resnet18", 5), ("mobilenetv3_large_100", 4), ("densenet121", 2)],
)
def test_what_is_left_of_a_backbone_gives_the_map_of_the_whole(backbone: str, stages: int) -> None:
    torch.manual_seed(0)
    whole = create_backbone(backbone).eval()
    torch.manual_seed(0)
    model = build_classifier(model_of(backbone, stages=stages), 3, px=32).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        expected = map_after(whole, len(model.units), images)
        assert torch.equal(model.features(images), expected)
    (dense,) = (layer for layer in model.head.modules() if isinstance(layer, nn.Linear))
    assert expected.shape[1] == facts(backbone).stage_channels[stages - 1] == dense.in_features


def test_units_that_are_cut_off_are_gone() -> None:
    whole, cut = (build_classifier(model_of("resnet18", stages=stages), 3, px=32) for stages in (None, 3))
    assert cut.units == whole.units[:8]
    assert cut.parameter_counts()[0] < whole.parameter_counts()[0] / 10
    assert not any(name.startswith(("backbone.layer3", "backbone.layer4")) for name in cut.state_dict())


def test_the_freeze_depth_counts_in_the_shortened_line() -> None:
    model = model_of("resnet18", stages=3, freeze={"last_units": 2})
    assert (len(trunk_of(model).line), frozen_units_of(model)) == (8, 6)
    assert build_classifier(model, 3, px=32).frozen_units == 6
    assert frozen_units_of(model_of("resnet18", stages=3, freeze={"depth": 0.5})) == 4


def test_a_head_on_unpooled_features_leaves_out_what_comes_after_the_pooling() -> None:
    model = build_classifier(model_of("mobilenetv3_large_100", head={"features": "flat"}), 3, px=64)
    assert "conv_head" not in model.units
    assert model.head_widths() == (3,)
    (dense,) = (layer for layer in model.head.modules() if isinstance(layer, nn.Linear))
    assert dense.in_features == 960 * 2 * 2


def test_a_linear_baseline_stands_on_a_wholly_frozen_backbone() -> None:
    model = model_of("resnet18", head={"kind": "svm"})
    assert frozen_units_of(model) == len(trunk_of(model).line) == 13


def test_nearly_every_backbone_can_be_cut_after_each_stage() -> None:
    every = find("*")
    whole = [known for known in every if all(known.stage_channels)]
    assert len(whole) > 0.9 * len(every)
    assert all(len(known.stage_channels) == len(stage_ends(known.line.first(known.map_units))) for known in every)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        pytest.param(model_of("resnet18", stages=5), None, id="all-stages"),
        pytest.param(
            model_of("resnet18", stages=6),
            "stages: 6 are more than resnet18 has; write 5 at most",
            id="too-many-stages",
        ),
        pytest.param(
            model_of("resnet18", stages=2, freeze={"last_units": 7}),
            "7 units to train, but resnet18 has only 6",
            id="deeper-than-what-is-left",
        ),
        pytest.param(
            model_of("resnet18", stages=2, freeze={"stride": 16}),
            "frozen up to stride 16, but resnet18 has only strides 2, 4",
            id="a-stride-that-was-cut-off",
        ),
    ],
)
def test_what_cannot_be_cut_is_said_without_torch(model: ModelConfig, message: str | None) -> None:
    faults = model_faults(model)
    assert len(faults) == (message is not None)
    assert (message or "") in "".join(faults)


def test_more_stages_than_there_are_cannot_be_built() -> None:
    with pytest.raises(SpaceFileError, match="write 5 at most"):
        build_classifier(model_of("resnet18", stages=6), 3)


VALID = {"conv": 8, "kernel": 3, "padding": "valid"}


@pytest.mark.parametrize(
    ("model", "px", "place", "says"),
    [
        pytest.param(model_of("vgg16"), 16, ("image", "px"), "16 px are too few for vgg16; write 32", id="backbone"),
        pytest.param(
            model_of("resnet18", head={"convolutions": [VALID]}),
            64,
            ("model", "head", "convolutions", 0),
            "kernel 3 of conv 8 is larger than the 2 x 2 px",
            id="head-on-a-named-backbone",
        ),
        pytest.param(
            model_of({"kind": "custom", "layers": [VALID | {"pool": 2}, VALID | {"pool": 2}, VALID | {"kernel": 4}]}),
            16,
            ("model", "backbone", "layers", 2),
            "kernel 4 of conv 8 is larger than the 2 x 2 px that are left for it",
            id="layer",
        ),
        pytest.param(
            model_of({"kind": "custom", "layers": [VALID | {"pool": 7}]}, head={"convolutions": [VALID]}),
            16,
            ("model", "head", "convolutions", 0),
            "larger than the 2 x 2 px",
            id="head-on-a-custom-backbone",
        ),
    ],
)
def test_images_too_small_for_a_model_are_named_with_place_and_sizes(
    model: ModelConfig, px: int, place: tuple[str | int, ...], says: str
) -> None:
    ((found, text),) = size_faults(model, px)
    assert found == place
    assert says in text
    assert size_faults(model, 128) == []


class Remembers(nn.Module):
    """A network whose map depends on more than what its last unit gives."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward_features(self, x: Tensor) -> Tensor:
        out: Tensor = self.two(self.one(x)) + x
        return out


def test_a_cut_that_would_change_the_map_is_refused() -> None:
    with pytest.raises(InexactCutError, match="gives another map"):
        cut_and_prove(Remembers(), 1, px=4)


def test_a_cut_leaves_the_mode_as_it_was() -> None:
    network = create_backbone("resnet18")
    cut_and_prove(network, 4, px=32)
    assert network.training
    assert feature_map(network, torch.zeros(1, 3, 32, 32)).shape == (1, 64, 8, 8)
