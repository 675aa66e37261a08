"""Training images made by painting out the dominant class: which are made, what they show, where they stand."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.data.malformed_data import HEADER, boxes
from tests.data.pictures import encoded, put
from tests.data.test_index import index_of
from tests.data.test_malformed_data import SECTION
from tests.real_data import shared
from tune_cnn.data.audit import audit_data
from tune_cnn.data.cache import Cache
from tune_cnn.data.dataset import ImageData, open_data, summary
from tune_cnn.data.decode import UndecodableError
from tune_cnn.data.dominant import uncovered_area
from tune_cnn.data.paint import paint_out
from tune_cnn.data.synthetic import BoxedImage, synthetic_images
from tune_cnn.data.table import Box, Paint
from tune_cnn.errors import DataError
from tune_cnn.sections.data import Synthetic
from tune_cnn.sections.image import ImageConfig

FISH, SHARK, RAY = (
    ("fish", (0.0, 0.0, 50.0, 40.0)),
    ("shark", (60.0, 0.0, 90.0, 30.0)),
    ("ray", (0.0, 60.0, 10.0, 70.0)),
)


def boxed(*named: tuple[str, Box], path: str = "train/a.jpg") -> BoxedImage:
    return BoxedImage(path, (100.0, 80.0), named, None)


def made(image: BoxedImage, **settings: Any) -> list[tuple[str, str]]:
    return [(one.path, one.class_name) for one in synthetic_images([image], Synthetic(**settings))]


@pytest.mark.parametrize(
    ("image", "settings", "expected"),
    [
        pytest.param(boxed(FISH, SHARK), {}, [("train/a.jpg#without-fish", "shark")], id="two-classes"),
        pytest.param(boxed(FISH, SHARK, RAY), {}, [("train/a.jpg#without-fish", "shark")], id="three-classes"),
        pytest.param(boxed(FISH, FISH), {}, [], id="one-class"),
        pytest.param(boxed(), {}, [], id="no-box"),
        pytest.param(boxed(FISH, ("shark", (5.0, 5.0, 5.0, 9.0))), {}, [], id="a-second-class-without-area"),
        pytest.param(boxed(FISH, ("shark", (5.0, 5.0, 20.0, 20.0))), {}, [], id="a-second-class-wholly-covered"),
        pytest.param(boxed(FISH, ("shark", (40.0, 0.0, 55.0, 30.0))), {}, [], id="more-than-half-covered"),
        pytest.param(
            boxed(FISH, ("shark", (40.0, 0.0, 65.0, 30.0))),
            {},
            [("train/a.jpg#without-fish", "shark")],
            id="less-than-half-covered",
        ),
        pytest.param(boxed(FISH, SHARK), {"labels_except": ["shark"]}, [], id="a-label-that-is-not-wanted"),
        pytest.param(
            boxed(FISH, SHARK),
            {"labels_except": ["fish"]},
            [("train/a.jpg#without-fish", "shark")],
            id="the-painted-class-is-not-the-label",
        ),
        pytest.param(boxed(FISH, SHARK), {"painted_except": ["fish"]}, [], id="a-class-that-is-not-to-be-painted"),
    ],
)
def test_the_next_class_becomes_the_label(
    image: BoxedImage, settings: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert made(image, **settings) == expected


def test_a_fraction_is_drawn_by_the_seed() -> None:
    images = [boxed(FISH, SHARK, path=f"{number}.jpg") for number in range(20)]
    drawn = [{one.path for one in synthetic_images(images, Synthetic(fraction=0.25, seed=seed))} for seed in (0, 0, 1)]
    assert len(drawn[0]) == 5
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(
    ("covers", "left"),
    [
        pytest.param([], 100.0, id="nothing"),
        pytest.param([(0, 0, 5, 10)], 50.0, id="half"),
        pytest.param([(0, 0, 5, 10), (0, 0, 5, 10)], 50.0, id="the-same-twice"),
        pytest.param([(0, 0, 6, 6), (4, 4, 10, 10)], 32.0, id="two-that-overlap"),
        pytest.param([(-5, -5, 50, 50)], 0.0, id="all"),
        pytest.param([(20, 0, 30, 10), (10, 0, 20, 10)], 100.0, id="beside-it"),
    ],
)
def test_covers_that_overlap_count_once(covers: list[Box], left: float) -> None:
    assert uncovered_area((0, 0, 10, 10), covers) == left


# --- painting


def picture(background: int = 50) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """80 x 100 pixels: a fish (200) at the left, a shark (100) at the right, each in its box."""
    image = np.full((80, 100, 3), background, np.uint8)
    image[0:40, 0:50] = 200
    image[0:30, 60:90] = 100
    return image


PAINT = Paint("a.jpg", (100, 80), (FISH[1],), (SHARK[1],))


def test_boxes_take_the_median_colour_of_what_lies_outside_all_boxes() -> None:
    image = picture()
    image[70:, :] = 255  # bright ground, less than half of the background
    painted = paint_out(image, PAINT)
    assert (painted[0:40, 0:50] == 50).all()
    untouched = np.ones((80, 100), bool)
    untouched[0:40, 0:50] = False
    assert np.array_equal(painted[untouched], image[untouched])
    assert (image[0, 0] == 200).all(), "the original stays as it was"


def test_boxes_are_scaled_to_the_image() -> None:
    half = paint_out(np.ascontiguousarray(picture()[::2, ::2]), PAINT)
    assert (half[0:20, 0:25] == 50).all()
    assert (half[0:15, 30:45] == 100).all()


@pytest.mark.parametrize(
    ("paint", "colour"),
    [
        pytest.param(Paint("a", (100, 80), ((0, 0, 50, 80),), ((50, 0, 100, 80),)), 50, id="boxes-everywhere"),
        pytest.param(Paint("a", (100, 80), ((0, 0, 100, 80),), ()), 50, id="painted-everywhere"),
    ],
)
def test_an_image_without_background_is_painted_in_what_is_left(paint: Paint, colour: int) -> None:
    assert (paint_out(picture(), paint)[79, 0] == colour).all()


def test_an_image_turned_since_it_was_annotated_is_not_painted() -> None:
    with pytest.raises(UndecodableError, match="80 x 100 pixels, but annotated as 100 x 80"):
        paint_out(np.ascontiguousarray(picture().transpose(1, 0, 2)), PAINT)


# --- from files to arrays

CLASSES_ROWS = (
    "a.png,100,80,fish,0,0,50,40\na.png,100,80,shark,60,0,90,30\n"
    "b.png,100,80,fish,0,0,50,40\nc.png,100,80,shark,0,0,50,40\n"
)


def aquarium(root: Path) -> Path:
    for part, bright in (("train", 40), ("val", 60)):
        for number, name in enumerate("abc"):
            put(root / part / f"{name}.png", encoded(Image.fromarray(picture(bright + number)), "PNG"))
        put(root / part / "_annotations.csv", (HEADER + CLASSES_ROWS).encode())
    return root


def opened(root: Path, cache: Path, **changes: Any) -> ImageData:
    return open_data(SECTION.validate_python(boxes(root, **changes)), ImageConfig(px=100), cache=Cache(cache))


def test_synthetic_images_are_trained_on_and_never_judged(tmp_path: Path) -> None:
    root = aquarium(tmp_path / "set")
    plain = opened(root, tmp_path / "cache")
    data = opened(root, tmp_path / "cache", synthetic={})
    assert data.splits["train"].paths == ("train/a.png", "train/a.png#without-fish", "train/b.png", "train/c.png")
    assert [data.classes[label] for label in data.splits["train"].labels] == ["fish", "shark", "fish", "shark"]
    assert data.splits["val"].paths == plain.splits["val"].paths
    original, painted = data.splits["train"].images[:2]
    assert (original[10:50, 0:50] == 200).all()  # ten rows of padding
    assert (painted[10:50, 0:50] == 40).all()
    assert (painted[10:40, 60:90] == 100).all()
    assert audit_data(data).facts[0] == "train: 4 images of 2 classes, 1 of them synthetic"


def test_what_is_painted_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    root = aquarium(tmp_path / "set")
    both: tuple[dict[str, Any], ...] = ({}, {"synthetic": {}})
    prints = [opened(root, tmp_path / "cache", **changes).fingerprint for changes in both]
    table = root / "train" / "_annotations.csv"
    table.write_text(table.read_text().replace("fish,0,0,50,40", "fish,0,0,50,41"))
    prints += [opened(root, tmp_path / "cache", **changes).fingerprint for changes in both]
    assert prints[0] == prints[2], "other boxes of the same label"
    assert len(set(prints)) == 3


def test_no_synthetic_image_is_made_of_one_that_is_drawn_for_validation(tmp_path: Path) -> None:
    root = tmp_path / "set"
    rows = []
    for number in range(12):
        put(root / f"{number}.png", encoded(Image.fromarray(picture(number)), "PNG"))
        rows += [
            f"{number}.png,100,80,{name},{box}\n" for name, box in (("fish", "0,0,50,40"), ("shark", "60,0,90,30"))
        ]
    put(root / "s.png", encoded(Image.fromarray(picture(99)), "PNG"))
    put(root / "t.png", encoded(Image.fromarray(picture(98)), "PNG"))
    rows += ["s.png,100,80,shark,0,0,50,40\n", "t.png,100,80,shark,0,0,50,40\n"]
    put(root / "_annotations.csv", (HEADER + "".join(rows)).encode())
    data = opened(root, tmp_path / "cache", splits={"val": 0.5}, synthetic={})
    paths = {split: set(part.paths) for split, part in data.splits.items()}
    painted = {path for path in paths["train"] if "#" in path}
    assert len(painted) == 6
    assert {path.partition("#")[0] for path in painted} <= paths["train"]
    assert not any("#" in path for path in paths["val"])
    assert summary(data)[0].train == 6


def test_a_file_that_cannot_be_read_is_reported_once(tmp_path: Path) -> None:
    root = aquarium(tmp_path / "set")
    put(root / "train" / "a.png", b"")
    with pytest.raises(DataError) as refused:
        opened(root, tmp_path / "cache", synthetic={})
    assert len(refused.value.faults) == 1
    skipped = opened(root, tmp_path / "cache", synthetic={}, on_bad="skip").skipped
    assert [one.path for one in skipped] == ["train/a.png"]


def test_an_image_whose_boxes_do_not_fit_it_is_refused_or_left_out(tmp_path: Path) -> None:
    root = aquarium(tmp_path / "set")
    put(root / "train" / "a.png", encoded(Image.fromarray(picture().transpose(1, 0, 2)), "PNG"))
    with pytest.raises(DataError, match=r"train/a.png: 80 x 100 pixels, but annotated as 100 x 80"):
        opened(root, tmp_path / "cache", synthetic={})
    data = opened(root, tmp_path / "cache", synthetic={}, on_bad="skip")
    assert data.splits["train"].paths == ("train/a.png", "train/b.png", "train/c.png")
    assert [one.path for one in data.skipped] == ["train/a.png#without-fish"]


def test_the_section_is_plain_data(tmp_path: Path) -> None:
    section = SECTION.validate_python(boxes(tmp_path, synthetic={"labels_except": ["fish"], "fraction": 0.5}))
    assert SECTION.validate_json(json.dumps(section.model_dump(mode="json"))) == section


# --- real data


def test_the_real_aquarium_yields_a_hundred_images_of_classes_other_than_fish() -> None:
    splits = {"train": "train", "val": "valid", "test": "test"}
    index = index_of(boxes(shared("data", "aquarium"), splits=splits, synthetic={"labels_except": ["fish"]}))
    made = [row for row in index.rows if row.paint is not None]
    assert {row.split for row in made} == {"train"}
    assert Counter(index.classes[row.label] for row in made) == {"shark": 70, "stingray": 26, "starfish": 5}
