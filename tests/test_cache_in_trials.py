"""What a trial does where the cache is full, small or cannot be written: the same, with a line that says why."""

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import trial_config
from tests.data.pictures import put
from tune_cnn.data.cache import Cache
from tune_cnn.results.records import TrialFolder
from tune_cnn.trial import run_trial

TINY = {"backbone": {"kind": "custom", "layers": [{"conv": 4, "pool": 2, "repeat": 2}]}}
SET_BYTES = 60 * 32 * 32 * 3  # all images of `shapes`
TRAIN_BYTES = 30 * 32 * 32 * 3  # of a view


def trained(shapes: Path, folder: Path, cache: Cache) -> tuple[list[Any], list[str]]:
    """Train for three epochs; gives the curve, and what the log says of the cache."""
    history = run_trial(trial_config(shapes, model=TINY), TrialFolder(folder), metric="val_accuracy", cache=cache)
    lines = TrialFolder(folder).log.read_text().splitlines()
    return [record.scores for record in history], [line for line in lines if "cannot be used" in line]


@pytest.fixture(scope="module")
def curve(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What comes out where the cache can be used."""
    folder = tmp_path_factory.mktemp("usual")
    found, said = trained(shapes, folder / "trial", Cache(folder / "cache"))
    assert said == []
    assert len(list((folder / "cache").glob("augmented/*/entry.json"))) == 3, "a view per epoch"
    return found


@pytest.fixture
def small_files() -> Iterator[None]:
    """A disk that takes a checkpoint of the tiny network, but no cached images."""
    usual, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (TRAIN_BYTES // 2, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (usual, hard))


def test_a_full_disk_ends_in_plain_loading(shapes: Path, tmp_path: Path, curve: list[Any], small_files: None) -> None:
    found, [said] = trained(shapes, tmp_path / "trial", Cache(tmp_path / "cache"))
    assert found == curve
    assert "File too large); images are in memory" in said
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.suffix in {".npy", ".part"}]


def test_a_folder_that_cannot_be_written_ends_in_plain_loading(shapes: Path, tmp_path: Path, curve: list[Any]) -> None:
    found, [said] = trained(shapes, tmp_path / "trial", Cache(put(tmp_path / "a-file-not-a-folder", b"")))
    assert found == curve
    assert "images are in memory" in said


@pytest.mark.parametrize(
    ("limit_bytes", "says"),
    [
        pytest.param(0, "images are in memory", id="for-nothing"),
        pytest.param(SET_BYTES - 1, "images are in memory", id="for-a-view-but-not-for-the-images"),
        pytest.param(1.3 * SET_BYTES, "images are augmented batch by batch", id="for-the-images-but-not-for-a-view"),
    ],
)
def test_a_limit_too_small_ends_in_plain_loading(
    shapes: Path, tmp_path: Path, curve: list[Any], limit_bytes: float, says: str
) -> None:
    found, [said] = trained(shapes, tmp_path / "trial", Cache(tmp_path / "cache", limit_bytes / 10**9))
    assert found == curve
    assert says in said
    assert "--cache-gb allows" in said


def test_views_of_epochs_past_go_where_the_limit_has_room_for_one(
    shapes: Path, tmp_path: Path, curve: list[Any]
) -> None:
    found, said = trained(shapes, tmp_path / "trial", Cache(tmp_path / "cache", 2 * SET_BYTES / 10**9))
    assert (found, said) == (curve, [])
    assert len(list((tmp_path / "cache").glob("augmented/*/entry.json"))) == 1
