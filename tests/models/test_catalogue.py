import subprocess
import sys
import time

import pytest

from tune_cnn.errors import SpaceFileError
from tune_cnn.models import catalogue
from tune_cnn.models.catalogue import (
    OTHER_NAMES,
    TABLE,
    facts,
    find,
    known_backbones,
    line_from_text,
    line_to_text,
    nearest,
)
from tune_cnn.models.freeze import UnitLine
from tune_cnn.models.trunk import model_faults
from tune_cnn.sections.model import Freeze, ModelConfig

PROMISED = (
    *("mobilenetv3_large_100", "mobilenetv2_100", "resnet18", "resnet50", "vgg16", "vgg16_bn", "vgg19_bn"),
    *("efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "tf_efficientnet_lite0", "convnext_tiny"),
    *("regnety_004", "densenet121", "mobilenetv4_conv_small", "inception_v3"),
)


@pytest.mark.parametrize("name", PROMISED)
def test_the_table_has_what_the_studies_need(name: str) -> None:
    known = facts(name)
    assert known.tags
    assert known.features > 0
    assert max(known.line.strides) == 32


def test_the_table_has_the_cnns_of_timm_and_no_transformers() -> None:
    names = known_backbones()
    assert len(names) > 500
    assert not [name for name in names if name.startswith(("vit_", "swin", "deit", "beit", "maxvit", "mixer"))]


def test_the_table_is_small() -> None:
    assert len(TABLE.read_bytes()) < 400_000


def test_importing_and_reading_the_catalogue_takes_no_torch() -> None:
    code = "import sys; from tune_cnn.models.catalogue import facts; facts('resnet18'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "timm", "ray", "optuna", "numpy", "huggingface_hub"} & {*done.stdout.split()}


def test_every_row_can_be_read_in_a_blink() -> None:
    catalogue._rows.cache_clear()
    start = time.process_time()
    facts("resnet18")
    assert time.process_time() - start < 0.2, "50 ms on an idle machine"
    assert len(find("*")) == len(known_backbones())


@pytest.mark.parametrize(
    ("line", "text"),
    [
        pytest.param(UnitLine((1, 0, 4, 6), (2, 4, 4, 8)), "1@2 0@4 4 6@8", id="stride-is-written-where-it-changes"),
        pytest.param(UnitLine((2, 2), (4, 2)), "2@4 2@2", id="a-stride-may-fall"),
        pytest.param(UnitLine((), ()), "", id="empty"),
    ],
)
def test_a_line_survives_being_written(line: UnitLine, text: str) -> None:
    assert line_to_text(line) == text
    assert line_from_text(text) == line


def test_the_first_tag_is_the_default_and_a_written_one_is_taken() -> None:
    assert facts("resnet50").hub_id == "timm/resnet50.a1_in1k"
    tagged = facts("resnet50.tv_in1k")
    assert (tagged.name, tagged.architecture) == ("resnet50.tv_in1k", "resnet50")
    assert tagged.hub_id == "timm/resnet50.tv_in1k"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("resnet5O", "unknown backbone 'resnet5O'; did you mean 'resnet50'", id="one-letter-wrong"),
        pytest.param("EfficientNet-B2", "did you mean 'efficientnet_b2'", id="as-the-paper-writes-it"),
        pytest.param("ResNet18", "did you mean 'resnet18'", id="capitals"),
        pytest.param("mobilenet_v3", "'mobilenetv3_large_100'", id="as-torchvision-writes-it"),
        pytest.param("tf_efficientnet_lite", "'tf_efficientnet_lite0'", id="number-forgotten"),
        pytest.param("", "unknown backbone ''; `tune-cnn backbones` lists all", id="empty"),
        pytest.param("zzz", "unknown backbone 'zzz'; `tune-cnn backbones` lists all", id="nothing-like-it"),
        pytest.param("../resnet50", "unknown backbone", id="a-path"),
        pytest.param("x" * 9999, f"unknown backbone '{'x' * 80}…'; `tune-cnn", id="endless"),
        pytest.param(
            "resnet50.tv_1k", "resnet50 has no weights tagged 'tv_1k'; write resnet50.tv_in1k", id="unknown-tag"
        ),
        pytest.param("resnet50.", "resnet50 has no weights tagged ''", id="tag-forgotten"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(SpaceFileError) as caught:
        facts(name)
    assert message in str(caught.value)


def test_nearest_names_are_few_and_known() -> None:
    near = nearest("resnet")
    assert 0 < len(near) <= 3
    assert set(near) <= set(known_backbones())


@pytest.mark.parametrize(
    ("pattern", "has", "has_not"),
    [
        pytest.param("lite", "tf_efficientnet_lite0", "resnet18", id="part-of-a-name"),
        pytest.param("resnet*", "resnet18", "seresnet50", id="pattern-is-anchored"),
        pytest.param("LITE0", "tf_efficientnet_lite0", "resnet18", id="case-does-not-matter"),
        pytest.param("", "resnet18", "vit_base_patch16_224", id="nothing-asks-for-all"),
    ],
)
def test_names_are_found_by_part_or_pattern(pattern: str, has: str, has_not: str) -> None:
    names = [known.name for known in find(pattern)]
    assert has in names
    assert has_not not in names


@pytest.mark.parametrize(
    ("model", "message"),
    [
        pytest.param(ModelConfig(backbone="resnet18"), None, id="fine"),
        pytest.param(ModelConfig(backbone="resnet18", freeze=Freeze(depth=1.0)), None, id="wholly-frozen"),
        pytest.param(ModelConfig(backbone="resnet19"), "unknown backbone 'resnet19'", id="unknown"),
        pytest.param(
            ModelConfig(backbone="resnet18", freeze=Freeze(last_units=99)),
            "99 units to train, but resnet18 has only 13",
            id="too-many-units",
        ),
        pytest.param(
            ModelConfig(backbone="resnet18", freeze=Freeze(last_layers=99)),
            "99 layers to train, but resnet18 has only 40 with weights",
            id="too-many-layers",
        ),
    ],
)
def test_what_no_backbone_can_do_is_said_without_torch(model: ModelConfig, message: str | None) -> None:
    faults = model_faults(model)
    assert len(faults) == (message is not None)
    assert (message or "") in "".join(faults)


@pytest.mark.parametrize(("other", "name"), OTHER_NAMES.items())
def test_some_names_of_smp_and_torchvision_are_taken(other: str, name: str) -> None:
    assert facts(other) == facts(name)
    assert other not in known_backbones()
