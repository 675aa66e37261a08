"""The data set that a process has opened is given again, unless a file has changed."""

import gc
import os
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import trial_config
from tune_cnn.data.cache import Cache
from tune_cnn.data.dataset import ImageData
from tune_cnn.data.resident import open_resident
from tune_cnn.errors import DataError


@pytest.fixture
def images(shapes: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shapes, tmp_path / "images"))


def opened(root: Path, cache: Cache, px: int = 32) -> ImageData:
    config = trial_config(root, image={"px": px})
    return open_resident(config.data, config.image, cache=cache)


def rewrite(images: Path) -> None:
    """Write another image's content in place, which changes no folder."""
    one, other = sorted((images / "train").rglob("*.jpg"))[:2]
    one.write_bytes(other.read_bytes())


def touch(images: Path) -> None:
    file = next((images / "valid").rglob("*.jpg"))
    os.utime(file, ns=(1, 1))


def add(images: Path) -> None:
    file = next((images / "test").rglob("*.jpg"))
    shutil.copy(file, file.with_name("more.jpg"))


def test_an_unchanged_data_set_is_the_very_one_of_before(images: Path, cache: Cache) -> None:
    first = opened(images, cache)
    other = opened(images, cache, px=16)
    assert other.splits["train"].images.shape[1] == 16
    assert opened(images, cache) is first


def test_of_data_sets_held_in_memory_only_the_last_is_kept(images: Path, tmp_path: Path) -> None:
    full = Cache(tmp_path / "cache", limit_gb=0.0)
    first = weakref.ref(opened(images, full))
    assert opened(images, full) is first()
    opened(images, full, px=16)
    gc.collect()
    assert first() is None


@pytest.mark.parametrize("change", [rewrite, touch, add, lambda images: next(images.rglob("*.jpg")).unlink()])
def test_a_change_of_any_file_is_noticed(images: Path, cache: Cache, change: Callable[[Path], None]) -> None:
    first = opened(images, cache)
    change(images)
    again = opened(images, cache)
    assert again is not first
    assert (again.fingerprint == first.fingerprint) == (change is touch)


def test_a_data_set_that_is_gone_is_an_error(images: Path, cache: Cache) -> None:
    opened(images, cache)
    shutil.rmtree(images)
    with pytest.raises(DataError, match="is not there"):
        opened(images, cache)
