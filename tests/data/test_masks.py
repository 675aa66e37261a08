from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from tests.data.mask_sets import section
from tests.data.pictures import encoded
from tune_cnn.data.decode import UndecodableError, fit_image, fit_mask, unfit_mask
from tune_cnn.data.masks import MaskRule, UnmappedError, decode_mask
from tune_cnn.sections.data import IGNORED_ID, MasksData


def rule(values: dict[object, str | None], threshold: int | None = None) -> MaskRule:
    return MaskRule.of(MasksData.model_validate(section(Path("set"), values=values, threshold=threshold)))


GRAY = rule({0: "land", 255: "water", 7: None})
LEVELS = np.array([[0, 255], [7, 0]], np.uint8)
IDS = [[0, 1], [IGNORED_ID, 0]]


def palette_image() -> Image.Image:
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8))
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
    return image


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(Image.fromarray(LEVELS), id="gray"),
        pytest.param(Image.fromarray(np.repeat(LEVELS[..., None], 3, axis=2)), id="gray-stored-in-colours"),
        pytest.param(
            Image.merge("LA", [Image.fromarray(LEVELS), Image.new("L", (2, 2), 9)]), id="gray-and-transparent"
        ),
        pytest.param(Image.fromarray(LEVELS.astype(np.uint16)), id="sixteen-bits"),
    ],
)
def test_gray_levels_become_class_ids_however_they_are_stored(image: Image.Image) -> None:
    assert decode_mask(encoded(image, "PNG"), GRAY, max_megapixels=1).tolist() == IDS


def test_bits_are_black_and_white() -> None:
    bits = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    assert decode_mask(encoded(bits, "PNG"), GRAY, max_megapixels=1).tolist() == [[0, 1]]


def test_a_palette_is_read_by_its_indices_or_by_its_colours() -> None:
    data = encoded(palette_image(), "PNG")
    by_index = rule({0: "land", 1: "water", 2: "sky"})
    by_colour = rule({"#000000": "land", "#FF0000": "water", "#0000ff": "water"})
    assert decode_mask(data, by_index, max_megapixels=1).tolist() == [[0, 1], [2, 1]]
    assert decode_mask(data, by_colour, max_megapixels=1).tolist() == [[0, 1], [1, 1]]


def test_blurred_edges_fall_to_one_of_two_classes_by_a_threshold() -> None:
    edge = Image.fromarray(np.array([[0, 100, 127, 128, 200, 255]], np.uint8))
    ids = decode_mask(encoded(edge, "PNG"), rule({255: "water", 0: "land"}, threshold=128), max_megapixels=1)
    assert ids.tolist() == [[0, 0, 0, 1, 1, 1]]


def test_a_value_of_no_class_is_told_with_its_count_and_what_helps() -> None:
    mask = Image.fromarray(np.array([[0, 255, 3, 3]], np.uint8))
    with pytest.raises(UnmappedError, match=r"holds the values 3 \(2 pixels\), which .* lacks; .*3: null") as told:
        decode_mask(encoded(mask, "PNG"), rule({0: "land", 255: "water"}), max_megapixels=1)
    assert "for blurred edges write data.threshold: 128" in str(told.value)
    with pytest.raises(UnmappedError, match="'#ff0000' \\(2 pixels\\)"):
        decode_mask(encoded(palette_image(), "PNG"), rule({"#000000": "a", "#0000ff": "b"}), max_megapixels=1)


def test_colours_where_gray_levels_were_announced_say_which() -> None:
    with pytest.raises(UndecodableError, match=r"a mask in colours \(such as '#ff0000'\), but"):
        decode_mask(encoded(palette_image().convert("RGB"), "PNG"), GRAY, max_megapixels=1)


def test_a_mask_is_turned_by_its_own_exif_alone() -> None:
    image = Image.fromarray(np.array([[0, 255]], np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6
    buffer = BytesIO()
    image.save(buffer, "PNG", exif=exif)
    assert decode_mask(buffer.getvalue(), GRAY, max_megapixels=1).shape == (2, 1)


@pytest.mark.parametrize("fit", ["pad", "stretch", "crop"])
@pytest.mark.parametrize("size", [(40, 24), (24, 40), (31, 17), (16, 16)])
def test_a_mask_is_fitted_where_its_image_is(size: tuple[int, int], fit: str) -> None:
    truth = np.zeros(size, np.uint8)
    truth[size[0] // 4 : size[0] // 2, size[1] // 3 :] = 1
    image = np.repeat(truth[..., None] * np.uint8(255), 3, axis=2)
    fitted = fit_mask(truth, 32, fit)  # type: ignore[arg-type]  # the parameter is one of the three
    shown = fit_image(image, 32, fit)[..., 0] > 127  # type: ignore[arg-type]
    counted = fitted != IGNORED_ID
    assert np.mean((fitted == 1)[counted] == shown[counted]) > 0.95
    assert counted.all() == (fit != "pad" or size[0] == size[1])


@given(
    mask=arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.sampled_from([0, 1, 7])),
    fit=st.sampled_from(["pad", "stretch", "crop"]),
    px=st.sampled_from([16, 33]),
)
def test_fitting_makes_up_no_value_and_can_be_taken_back(mask: np.ndarray, fit: str, px: int) -> None:
    fitted = fit_mask(mask, px, fit)  # type: ignore[arg-type]
    assert set(np.unique(fitted)) <= {*np.unique(mask), IGNORED_ID}
    back = unfit_mask(fitted, mask.shape, fit)  # type: ignore[arg-type]
    assert back.shape == mask.shape
    assert set(np.unique(back)) <= {*np.unique(mask), IGNORED_ID}


@pytest.mark.parametrize("fit", ["pad", "stretch"])
def test_a_mask_made_larger_comes_back_as_it_was(fit: str) -> None:
    mask = np.random.default_rng(0).integers(0, 3, (16, 12), np.uint8)
    assert np.array_equal(unfit_mask(fit_mask(mask, 64, fit), (16, 12), fit), mask)  # type: ignore[arg-type]


def test_what_was_cropped_off_is_not_counted_when_it_comes_back() -> None:
    back = unfit_mask(np.ones((32, 32), np.uint8), (10, 20), "crop")
    assert (back[:, 5:15] == 1).all()
    assert (back[:, :5] == IGNORED_ID).all()
    assert (back[:, 15:] == IGNORED_ID).all()
