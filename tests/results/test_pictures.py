from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tune_cnn.results.pictures import FALSE_NEGATIVE, FALSE_POSITIVE, RIGHT, class_colours, class_mask, comparison

TRUTH = np.array([[1, 1, 0, 0], [255, 255, 255, 255]], np.uint8)
PREDICTED = np.array([[1, 0, 1, 0], [1, 0, 1, 0]], np.uint8)
BLACK = np.zeros((2, 4, 3), np.uint8)


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(png)).convert("RGB"))


def test_right_is_green_wrong_is_red_or_blue_and_the_photograph_stands_beside() -> None:
    picture = pixels(comparison(BLACK, TRUTH, PREDICTED, ("land", "water"), title="best: a.jpg"))
    enlarged = picture.shape[1] // 8
    shown = picture[: 2 * enlarged : enlarged, ::enlarged]
    assert (shown[:, :4] == 0).all()
    half = [tuple(round(value / 2) for value in colour) for colour in (RIGHT, FALSE_NEGATIVE, FALSE_POSITIVE)]
    assert [tuple(colour) for colour in shown[0, 4:].tolist()] == [*half, (0, 0, 0)]
    assert len(np.unique(shown[1, 4:], axis=0)) == 1, "what does not count is gray, whatever was predicted"
    assert picture.shape[0] > 2 * enlarged, "a caption below"


def test_of_several_classes_each_has_its_colour_and_errors_are_hatched() -> None:
    truth = np.zeros((64, 64), np.uint8)
    predicted = np.repeat(np.array([0, 1, 2, 3], np.uint8), 16)[None].repeat(64, axis=0)
    names = ("background", "a", "b", "c")
    picture = pixels(comparison(np.zeros((64, 64, 3), np.uint8), truth, predicted, names, title="t"))
    enlarged = picture.shape[1] // 128
    shown = picture[: 64 * enlarged : enlarged, 64 * enlarged :: enlarged]
    for number in range(1, 4):
        strip = shown[:, 16 * number : 16 * (number + 1)].reshape(-1, 3)
        wrong = (strip == np.array(FALSE_POSITIVE)).all(axis=1).mean()
        assert wrong == pytest.approx(0.25)
        assert (strip == np.round(np.array(class_colours(4)[number]) / 2)).all(axis=1).mean() == pytest.approx(
            0.75, abs=0.01
        )
    assert (shown[:, :16] == 0).all()


def test_a_class_mask_holds_the_ids_and_shows_them_in_colours() -> None:
    image = Image.open(BytesIO(class_mask(TRUTH, 2)))
    assert image.mode == "P"
    assert np.array_equal(np.asarray(image), TRUTH)
    colours = {tuple(colour) for colour in np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()}
    assert len(colours) == 3


@pytest.mark.parametrize("classes", [2, 12, 255])
def test_colours_of_classes_differ(classes: int) -> None:
    assert len(set(class_colours(classes))) == classes


def test_names_with_escape_sequences_and_of_any_length_fit_into_the_caption() -> None:
    names = ("background", *(f"\x1b[31mclass {'x' * 30} {number}" for number in range(9)))
    truth = np.zeros((32, 32), np.uint8)
    few = pixels(comparison(np.zeros((32, 32, 3), np.uint8), truth, truth, names[:3], title="\x1b[2J" + "t" * 500))
    many = pixels(comparison(np.zeros((32, 32, 3), np.uint8), truth, truth, names, title="t"))
    assert many.shape[1] == few.shape[1]
    assert many.shape[0] > few.shape[0], "more names take more lines"
