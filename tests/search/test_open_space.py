"""What a segmentation space is held against before anything starts."""

from pathlib import Path

import pytest

from tests.space.malformed_segmentation import GOOD_MASKS
from tests.space.malformed_spaces import GOOD
from tune_cnn.errors import SpaceFileError
from tune_cnn.search.open_space import open_space


@pytest.fixture
def space_file(tmp_path: Path) -> Path:
    file = tmp_path / "space.yaml"
    file.write_text(GOOD_MASKS)
    return file


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        pytest.param(
            ["image.px=100"],
            "image.px: 100 is no multiple of 32, the stride of the encoder tf_efficientnet_lite0; write 96 or 128",
            id="px-between-two-multiples",
        ),
        pytest.param(["image.px=16"], "image.px: 16", id="px-below-the-stride"),
        pytest.param(
            ["model.decoder=deeplabv3", "model.backbone=vgg11"],
            "model.decoder: the decoder deeplabv3 cannot work on vgg11 at 224 px",
            id="decoder-that-the-encoder-cannot-feed",
        ),
        pytest.param(
            ["model.decoder={choice: [unet, pan]}", "image.px=64"],
            "model.decoder: the decoder pan cannot work on tf_efficientnet_lite0 at 64 px",
            id="one-decoder-of-a-choice",
        ),
        pytest.param(["model.backbone=convmixer_768_32"], "cannot be the encoder", id="no-encoder"),
        pytest.param(["model.freeze={last_units: 19}"], "has only 18; write last_units: 18", id="freeze-beyond"),
    ],
)
def test_what_cannot_be_built_is_told_before_anything_starts(space_file: Path, overrides: list[str], says: str) -> None:
    with pytest.raises(SpaceFileError) as told:
        open_space(space_file, overrides=overrides)
    assert says in str(told.value)
    assert len(told.value.faults) == 1


def test_the_default_metric_is_that_of_the_task(space_file: Path, tmp_path: Path) -> None:
    assert open_space(space_file).space.search.metric == "val_miou"
    (tmp_path / "classes.yaml").write_text(GOOD)
    assert open_space(tmp_path / "classes.yaml").space.search.metric == "val_accuracy"


def test_names_of_other_libraries_are_looked_up(space_file: Path) -> None:
    opened = open_space(space_file, overrides=["model.backbone=mobilenet_v2", "model.freeze={depth: 0.5}"])
    assert opened.backbones == (("mobilenet_v2", "imagenet"),)
