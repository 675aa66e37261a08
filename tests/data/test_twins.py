"""What is a near twin and what is not: on generated scenes, and on the photographs of study 1."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from tests.data.pictures import encoded
from tests.real_data import shared
from tune_cnn.data.decode import decode_image
from tune_cnn.data.sketch import HASH_BYTES, SKETCH_BYTES, Sketches, sketch_of
from tune_cnn.data.twins import LARGEST_DISTANCE, nearest_twins
from tune_cnn.sample import OBJECTS, draw_picture


def scene(seed: int, name: str = "star") -> Image.Image:
    return draw_picture(name, np.random.default_rng(seed)).image


def sketch(image: Image.Image) -> Sketches:
    return sketch_of(np.asarray(image.convert("RGB")))


def compressed(image: Image.Image) -> Image.Image:
    return Image.open(BytesIO(encoded(image, "JPEG", quality=30)))


def next_frame(image: Image.Image) -> Image.Image:
    """The same camera a moment later: a fish has come in, and the light has changed."""
    later = ImageEnhance.Brightness(image).enhance(0.9)
    later.paste((200, 60, 30), (10, 10, 26, 20))
    return later


SAME: dict[str, Callable[[Image.Image], Image.Image]] = {
    "the-image-itself": lambda image: image,
    "half-the-size": lambda image: image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC),
    "three-times-the-size": lambda image: image.resize((image.width * 3, image.height * 3), Image.Resampling.BICUBIC),
    "strongly-compressed": compressed,
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "less-contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.6),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(1.5)),
    "gray": lambda image: image.convert("L"),
    "two-pixels-cut-off": lambda image: image.crop((2, 2, image.width, image.height)),
    "a-frame-later": next_frame,
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME.keys())
def test_the_same_scene_is_a_near_twin(change: Callable[[Image.Image], Image.Image]) -> None:
    for seed in range(4):
        image = scene(seed)
        found = nearest_twins(sketch(change(image))[None], sketch(image)[None])
        assert found.places.tolist() == [0]
        assert found.distances[0] <= LARGEST_DISTANCE


def test_other_scenes_of_the_same_kind_are_no_twins() -> None:
    sketches = np.stack([sketch(scene(seed, name)) for seed, name in enumerate([*OBJECTS] * 40)])
    numbers = np.arange(len(sketches))
    found = nearest_twins(sketches, sketches, query_labels=numbers, pool_labels=numbers)
    assert found.places.tolist() == [-1] * len(sketches)
    assert found.distances.tolist() == [-1] * len(sketches)


def test_even_images_are_nobody_s_twins() -> None:
    sketches = np.stack([sketch(Image.new("RGB", (40, 30), colour)) for colour in ("black", "white", "black")])
    assert nearest_twins(sketches, sketches).places.tolist() == [-1, -1, -1]


def test_the_nearest_of_several_twins_is_given_and_the_first_of_equals() -> None:
    image = scene(1)
    pool = np.stack([sketch(one) for one in (scene(2), next_frame(image), image, image)])
    found = nearest_twins(sketch(image)[None], pool)
    assert (found.places.tolist(), found.distances.tolist()) == ([2], [0])


def test_twins_of_the_same_label_do_not_count_where_labels_are_given() -> None:
    pool = np.stack([sketch(scene(1)), sketch(next_frame(scene(1)))])
    labels = np.array([0, 1])
    same = nearest_twins(pool[:1], pool, query_labels=np.array([0]), pool_labels=labels)
    assert same.places.tolist() == [1]
    assert nearest_twins(pool[:1], pool[:1], query_labels=labels[:1], pool_labels=labels[:1]).places.tolist() == [-1]


@pytest.mark.parametrize(("queries", "pool"), [(0, 3), (3, 0), (0, 0)])
def test_nothing_has_no_twins(queries: int, pool: int) -> None:
    found = nearest_twins(np.zeros((queries, SKETCH_BYTES), np.uint8), np.zeros((pool, SKETCH_BYTES), np.uint8))
    assert found.places.tolist() == [-1] * queries


def test_every_pair_is_looked_at_however_many_there_are() -> None:
    """Against counting bit by bit, over the edges of blocks; the thumbnails are alike throughout."""
    random = np.random.default_rng(0)
    sketches = np.tile(np.arange(SKETCH_BYTES, dtype=np.uint8), (300, 1))
    sketches[:, :HASH_BYTES] = random.integers(0, 256, (300, HASH_BYTES))
    for copy, original in ((5, 290), (127, 128), (255, 0)):
        sketches[copy, :HASH_BYTES] = sketches[original, :HASH_BYTES] ^ np.array([1] * 9 + [0] * 23, np.uint8)
    bits = np.unpackbits(sketches[:, :HASH_BYTES], axis=1).astype(np.int64)
    distances = bits @ (1 - bits).T
    distances += distances.T
    np.fill_diagonal(distances, 999)
    numbers = np.arange(300)
    found = nearest_twins(sketches, sketches, query_labels=numbers, pool_labels=numbers)
    nearest = distances.min(axis=1)
    assert found.distances.tolist() == np.where(nearest <= LARGEST_DISTANCE, nearest, -1).tolist()
    assert found.places[[5, 290, 127, 128, 255, 0]].tolist() == [290, 5, 128, 127, 0, 255]


# --- real data


@pytest.mark.parametrize(
    ("one", "other", "twins"),
    [
        pytest.param("test/IMG_3154", "train/IMG_3155", True, id="puffins-in-one-pool"),
        pytest.param("test/IMG_8396", "train/IMG_8399", True, id="sharks-seen-from-above"),
        pytest.param("valid/IMG_8581_MOV-1", "train/IMG_8581_MOV-4", True, id="frames-of-one-video"),
        pytest.param("test/IMG_2371", "train/IMG_8544", False, id="another-tank"),
        pytest.param("test/IMG_2347", "train/IMG_2584", False, id="hashes-near-by-chance"),
    ],
)
def test_real_neighbours_are_found_and_strangers_are_not(one: str, other: str, twins: bool) -> None:
    root = shared("data", "aquarium")
    found = []
    for name in (one, other):
        [path] = root.glob(f"{name}_*.jpg")
        found.append(sketch_of(decode_image(path.read_bytes(), max_megapixels=10))[None])
    assert (nearest_twins(found[0], found[1]).places[0] == 0) == twins
