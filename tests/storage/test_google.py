"""Images and runs at gs://, in a server on loopback that stands for Google's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from gcp_storage_emulator.server import create_server

from tests.storage.test_fetch import one_image_each
from tests.storage.test_mirror import check_whole, keep_state
from tune_cnn.data.cache import Cache
from tune_cnn.data.fetch import local_copy
from tune_cnn.errors import RunFolderError, StorageError
from tune_cnn.results.records import RunFolder
from tune_cnn.results.trial_files import delete_weights
from tune_cnn.storage import remote
from tune_cnn.storage.claim import Hold, mark
from tune_cnn.storage.mirror import Mirror
from tune_cnn.storage.pull import pull
from tune_cnn.storage.remote import Remote


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    made = create_server("127.0.0.1", 0, in_memory=True)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def bucket(server: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server._api._httpd.server_port}")
    name = f"tune-cnn-{uuid4().hex[:12]}"
    Remote(f"gs://{name}")._files.mkdir(name)
    return f"gs://{name}"


def test_images_of_google_are_fetched_as_they_are(bucket: str, shapes: Path, tmp_path: Path) -> None:
    folder = one_image_each(shapes, tmp_path / "few")
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    there = Remote(f"{bucket}/data")
    for name in names:
        there.put(name, folder / name)
    fetched = local_copy(there.url, Cache(tmp_path / "cache"))
    assert {name: (fetched / name).read_bytes() for name in names} == {
        name: (folder / name).read_bytes() for name in names
    }
    assert all(file.md5 and file.changed_seconds for file in there.files())
    assert local_copy(there.url, Cache(tmp_path / "cache"), patient=True) == fetched


def test_a_run_at_google_comes_back_as_it_was_sent(bucket: str, tmp_path: Path) -> None:
    run, there = RunFolder(tmp_path / "run"), Remote(f"{bucket}/runs/made")
    mirror = Mirror(run.path, there, every_state=True)
    for epoch in (1, 2):
        keep_state(run.trial(0), epoch)
        mirror.send()
    pull(there, tmp_path / "back")
    check_whole(RunFolder(tmp_path / "back").trial(0), {2})
    delete_weights(run.trial(0))
    mirror.send()
    assert not there.files()


def test_a_run_at_google_is_taken_by_one_driver_after_the_other(bucket: str, tmp_path: Path) -> None:
    there = Remote(f"{bucket}/runs/made")
    for name in ("here", "there"):
        mark(tmp_path / name, there.url)
    hold = Hold.take(there, tmp_path / "here")
    with pytest.raises(RunFolderError, match="was at work on it"):
        Hold.take(there, tmp_path / "there")
    hold.end()
    Hold.take(there, tmp_path / "here")
    assert [file.name for file in there.files()] == ["drivers/000001.json", "drivers/000002.json"]


def test_a_bucket_that_is_not_there_is_one_clear_line(bucket: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StorageError, match="cannot be written: there is no such bucket or object"):
        Remote("gs://no-such-bucket/runs").create("a", b"")
    assert not "".join(capfd.readouterr())


def test_a_storage_of_google_out_of_reach_is_told_without_tracebacks(
    bucket: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(remote, "_SECONDS_TO_ANSWER", 0.3)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match=r"^gs://b/runs: .*STORAGE_EMULATOR_HOST"):
        Remote("gs://b/runs").answers()
    assert not "".join(capfd.readouterr())
