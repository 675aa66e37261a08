import multiprocessing
import os
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from tests.data.pictures import encoded, jpeg, noise, put
from tune_cnn.data.cache import Cache
from tune_cnn.data.decode import decode_image, fit_image
from tune_cnn.data.table import ImageIndex, Row
from tune_cnn.data.views import Views, open_views
from tune_cnn.sections.image import ImageConfig

SMALL = ImageConfig(px=16)
NAMES = ("a.jpg", "b.png", "c.jpg")


def index_of(root: Path, names: tuple[str, ...] = NAMES) -> ImageIndex:
    return ImageIndex(root, ("cat", "dog"), tuple(Row(name, 0, "train") for name in names), (), ())


@pytest.fixture
def index(tmp_path: Path) -> ImageIndex:
    put(tmp_path / "set" / "a.jpg", jpeg(1, (30, 20)))
    put(tmp_path / "set" / "b.png", encoded(noise(2, (20, 50)), "PNG"))
    put(tmp_path / "set" / "c.jpg", jpeg(3, (16, 16)))
    return index_of(tmp_path / "set")


def entries(cache: Path) -> list[Path]:
    return sorted(path for path in (cache / "views").iterdir() if path.is_dir())


def test_each_row_is_its_file_decoded_and_fitted(index: ImageIndex, tmp_path: Path) -> None:
    views = open_views(index, SMALL, Cache(tmp_path / "cache"))
    assert views.images.shape == (3, 16, 16, 3)
    for place, name in enumerate(NAMES):
        data = (index.root / name).read_bytes()
        assert np.array_equal(views.images[place], fit_image(decode_image(data, max_megapixels=1), 16, "pad"))
        assert views.sha256[place] == sha256(data).hexdigest()
    assert (views.bad, views.note) == ({}, None)


def test_views_are_one_read_only_map_that_is_made_once(index: ImageIndex, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = open_views(index, SMALL, Cache(cache))
    stamp = (entries(cache)[0] / "images.npy").stat().st_mtime_ns
    second = open_views(index, SMALL, Cache(cache))
    assert isinstance(second.images, np.memmap)
    assert not second.images.flags.writeable
    assert np.array_equal(first.images, second.images)
    assert (entries(cache)[0] / "images.npy").stat().st_mtime_ns == stamp
    assert len(entries(cache)) == 1, "no temporary folders are left"


def test_a_warm_cache_opens_no_image(index: ImageIndex, tmp_path: Path) -> None:
    cold = open_views(index, SMALL, Cache(tmp_path / "cache"))
    for name in NAMES:  # other bytes of the same size and time: only who reads them can tell
        path = index.root / name
        status = path.stat()
        path.write_bytes(bytes(status.st_size))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    warm = open_views(index, SMALL, Cache(tmp_path / "cache"))
    assert np.array_equal(cold.images, warm.images)
    assert cold.sha256 == warm.sha256


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(ImageConfig(px=24), id="px"),
        pytest.param(ImageConfig(px=16, fit="crop"), id="fit"),
        pytest.param(ImageConfig(px=16, max_megapixels=0.0005), id="cap"),
    ],
)
def test_other_settings_make_another_entry(index: ImageIndex, tmp_path: Path, image: ImageConfig) -> None:
    open_views(index, SMALL, Cache(tmp_path / "cache"))
    open_views(index, image, Cache(tmp_path / "cache"))
    assert len(entries(tmp_path / "cache")) == 2


def test_a_changed_image_is_seen(index: ImageIndex, tmp_path: Path) -> None:
    before = open_views(index, SMALL, Cache(tmp_path / "cache"))
    put(index.root / "a.jpg", jpeg(99, (30, 20)))
    after = open_views(index, SMALL, Cache(tmp_path / "cache"))
    assert not np.array_equal(before.images[0], after.images[0])
    assert np.array_equal(before.images[1:], after.images[1:])


def test_a_changed_image_of_the_same_size_is_seen_by_its_time(index: ImageIndex, tmp_path: Path) -> None:
    path = put(index.root / "a.jpg", encoded(noise(1), "BMP"))
    before = open_views(index, SMALL, Cache(tmp_path / "cache"))
    size, time_ns = path.stat().st_size, path.stat().st_mtime_ns
    put(path, encoded(noise(2), "BMP"))
    os.utime(path, ns=(time_ns, time_ns + 1))
    assert path.stat().st_size == size
    assert not np.array_equal(before.images[0], open_views(index, SMALL, Cache(tmp_path / "cache")).images[0])


def test_bad_images_have_a_zero_row_and_a_reason(index: ImageIndex, tmp_path: Path) -> None:
    put(index.root / "a.jpg", jpeg(1, (300, 300))[:2000])
    (index.root / "c.jpg").unlink()
    for _ in range(2):  # cold and warm
        views = open_views(index, SMALL, Cache(tmp_path / "cache"))
        assert set(views.bad) == {"a.jpg", "c.jpg"}
        assert views.bad["a.jpg"].startswith("damaged or truncated JPEG")
        assert views.bad["c.jpg"] == "cannot be read (No such file or directory)"
        assert not views.images[[0, 2]].any()
        assert views.images[1].any()


# What else can be wrong with an entry is in test_cache.py.
DAMAGES: dict[str, Callable[[Path], object]] = {
    "a-byte-flipped": lambda entry: flip_a_byte(entry / "images.npy"),
    "sketches-missing": lambda entry: (entry / "sketches.npy").unlink(),
    "sketches-of-another-shape": lambda entry: np.save(entry / "sketches.npy", np.zeros((3, 8), np.uint8)),
    "facts-missing": lambda entry: (entry / "entry.json").unlink(),
}


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_entry_is_built_anew(index: ImageIndex, tmp_path: Path, damage: Callable[[Path], object]) -> None:
    sound = open_views(index, SMALL, Cache(tmp_path / "cache"))
    images, sketches = np.array(sound.images), np.array(sound.sketches)
    damage(entries(tmp_path / "cache")[0])
    again = open_views(index, SMALL, Cache(tmp_path / "cache"))
    assert np.array_equal(again.images, images)
    assert np.array_equal(again.sketches, sketches)
    assert (again.sha256, again.note) == (sound.sha256, None)
    assert isinstance(again.images, np.memmap)
    assert len(entries(tmp_path / "cache")) == 1


def test_a_damaged_entry_may_be_replaced_while_it_is_in_use(index: ImageIndex, tmp_path: Path) -> None:
    used = open_views(index, SMALL, Cache(tmp_path / "cache"))
    (entries(tmp_path / "cache")[0] / "entry.json").unlink()
    again = open_views(index, SMALL, Cache(tmp_path / "cache"))
    assert np.array_equal(used.images, again.images)


def test_images_are_held_in_memory_where_the_cache_cannot_be_written(index: ImageIndex, tmp_path: Path) -> None:
    put(index.root / "c.jpg", b"")
    blocked = put(tmp_path / "a-file-not-a-folder", b"")
    views = open_views(index, SMALL, Cache(blocked))
    assert views.note is not None
    assert views.note.startswith(f"the cache in {blocked} cannot be used (")
    usual = open_views(index, SMALL, Cache(tmp_path / "cache"))
    assert np.array_equal(views.images, usual.images)
    assert np.array_equal(views.sketches, usual.sketches)
    assert (views.sha256, views.bad) == (usual.sha256, usual.bad)
    assert not views.images.flags.writeable


def test_images_are_held_in_memory_when_the_disk_is_full_half_way(index: ImageIndex, tmp_path: Path) -> None:
    usual, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # three images of 768 bytes do not fit
    try:
        views = open_views(index, SMALL, Cache(tmp_path / "cache"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (usual, hard))
    assert views.note is not None
    assert "File too large" in views.note
    assert all(image.any() for image in views.images)
    assert entries(tmp_path / "cache") == [], "nothing half-written is left"


def open_in_process(arguments: tuple[ImageIndex, Path]) -> tuple[str | None, int]:
    index, cache = arguments
    views: Views = open_views(index, SMALL, Cache(cache))
    return views.note, int(views.images.sum())


def test_processes_that_open_at_once_all_get_the_same_views(tmp_path: Path) -> None:
    names = tuple(f"{number}.jpg" for number in range(40))
    for number, name in enumerate(names):
        put(tmp_path / "set" / name, jpeg(number, (60, 40)))
    index = index_of(tmp_path / "set", names)
    with ProcessPoolExecutor(3, multiprocessing.get_context("spawn")) as pool:
        seen = list(pool.map(open_in_process, [(index, tmp_path / "cache")] * 3))
    assert len(set(seen)) == 1
    assert seen[0][0] is None
    assert len(entries(tmp_path / "cache")) == 1
