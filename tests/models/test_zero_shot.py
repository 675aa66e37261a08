"""An untouched ImageNet network answers with ImageNet's classes, or says why it cannot."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from tests.models.conftest import WriteWeights
from tests.real_data import shared
from tune_cnn.data.decode import decode_image
from tune_cnn.errors import WeightsError
from tune_cnn.models.weights import resolve_weights
from tune_cnn.models.zero_shot import open_zero_shot, probabilities, short_names

BACKBONE = "mobilenetv3_small_050"


def pixels(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        pytest.param(("goldfish, Carassius auratus", "tench"), ("goldfish", "tench"), id="the-first-word"),
        pytest.param(
            ("Cardigan, Cardigan Welsh corgi", "cardigan"),
            ("Cardigan, Cardigan Welsh corgi", "cardigan"),
            id="all-words-where-the-first-differ-in-capitals-alone",
        ),
        pytest.param(("crane", "crane"), ("crane (n0)", "crane (n1)"), id="the-label-where-all-words-are-alike"),
    ],
)
def test_each_class_has_a_name_of_its_own(words: tuple[str, ...], names: tuple[str, ...]) -> None:
    assert short_names([f"n{number}" for number in range(len(words))], words) == names


def test_a_network_answers_with_its_own_classes_and_preprocessing(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = timm.create_model(BACKBONE).eval()
    file = tmp_path / f"{BACKBONE}.safetensors"
    save_file(network.state_dict(), file)
    zero_shot = open_zero_shot(BACKBONE, file)
    assert len(set(zero_shot.classes)) == len(zero_shot.classes) == 1000
    assert zero_shot.classes[1] == "goldfish"
    image = zero_shot.preprocess(pixels(100, 60))
    assert image.shape == (1, 3, 224, 224)
    with torch.inference_mode():
        expected = torch.softmax(network(image)[0].double(), dim=0)
    assert probabilities(zero_shot, pixels(100, 60)) == pytest.approx(expected.tolist())


def test_a_file_without_a_classifier_says_so(write_weights: WriteWeights) -> None:
    with pytest.raises(WeightsError, match=f"holds no classifier of {BACKBONE} for ImageNet"):
        open_zero_shot(BACKBONE, write_weights(BACKBONE, "features.safetensors"))


def test_what_it_sees_in_a_real_image_makes_sense(tmp_path: Path) -> None:
    image = next(shared("data", "aquarium", "test").glob("IMG_2387*.jpg"))
    found = resolve_weights("tf_efficientnet_lite0", "imagenet", weights_dir=None, cache_dir=tmp_path)
    assert found.file is not None
    zero_shot = open_zero_shot("tf_efficientnet_lite0", found.file)
    shares = probabilities(zero_shot, decode_image(image.read_bytes(), max_megapixels=10))
    assert zero_shot.classes[int(np.argmax(shares))] == "starfish"
    assert max(shares) > 0.8
