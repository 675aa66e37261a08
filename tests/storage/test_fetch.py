"""Images of a storage: fetched once, whole, and nowhere but below their folder."""

import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from fsspec.registry import _registry
from moto.s3.models import s3_backends

from tests.conftest import trial_config
from tests.storage.conftest import KEYS, S3
from tests.storage.fetching import inode_of
from tune_cnn import progress
from tune_cnn.data import fetch
from tune_cnn.data.cache import Cache
from tune_cnn.data.dataset import open_data
from tune_cnn.data.fetch import KIND, local_copy
from tune_cnn.data.resident import open_resident
from tune_cnn.errors import DataError, InputError, StorageError, UnreadableImagesError
from tune_cnn.storage import remote
from tune_cnn.storage.remote import Remote


def one_image_each(shapes: Path, folder: Path) -> Path:
    """The smallest data set that can be trained on."""
    for split in ("train", "valid", "test"):
        for kind in sorted((shapes / split).iterdir()):
            (folder / split / kind.name).mkdir(parents=True)
            image = min(kind.iterdir())
            shutil.copyfile(image, folder / split / kind.name / image.name)
    return folder


@pytest.fixture
def url(s3: S3, bucket: str, shapes: Path, tmp_path: Path) -> str:
    return s3.upload(one_image_each(shapes, tmp_path / "few"), bucket, "data/few")


@pytest.fixture
def own_cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def entries(cache: Cache) -> list[Path]:
    return sorted((cache.folder / KIND).glob("*/entry.json"))


def test_images_have_the_same_fingerprint_wherever_they_lie(url: str, tmp_path: Path, own_cache: Cache) -> None:
    here, there = trial_config(tmp_path / "few"), trial_config(url)  # type: ignore[arg-type]
    assert there.data.root == url
    opened = [open_data(config.data, config.image, cache=own_cache) for config in (here, there)]
    assert opened[0].fingerprint == opened[1].fingerprint


def test_what_is_wrong_with_the_images_is_told_of_the_address(s3: S3, url: str, bucket: str, own_cache: Cache) -> None:
    s3.client.put_object(Bucket=bucket, Key="data/few/train/circle/zz.png", Body=b"no image")
    config = trial_config(url)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=f"^{url}/train/circle/zz.png: ") as refused:
        open_data(config.data, config.image, cache=own_cache)
    assert isinstance(refused.value, UnreadableImagesError)
    assert str(own_cache.folder) not in str(refused.value.reasons)


def test_what_was_fetched_is_not_fetched_again_until_it_changes(
    s3: S3, url: str, bucket: str, own_cache: Cache
) -> None:
    first = local_copy(url, own_cache)
    assert local_copy(url, own_cache) == first
    s3.client.put_object(Bucket=bucket, Key="data/few/train/circle/one_more.png", Body=b"1")
    second = local_copy(url, own_cache)
    assert second != first
    assert (second / "train/circle/one_more.png").read_bytes() == b"1"


class Flaky(Remote):
    """A storage on a bad line: an image arrives cut, and another one comes meanwhile."""

    cuts = 0
    comes = False

    def get(self, name: str, to: Path) -> None:
        super().get(name, to)
        if Flaky.cuts:
            Flaky.cuts -= 1
            to.write_bytes(to.read_bytes()[:-1])
        if Flaky.comes:
            self.write("train/circle/late.png", b"late")


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> type[Flaky]:
    monkeypatch.setattr(fetch, "Remote", Flaky)
    monkeypatch.setattr(remote, "_AT_ONCE", 1)
    monkeypatch.setattr(Flaky, "cuts", 0)
    monkeypatch.setattr(Flaky, "comes", False)
    return Flaky


def test_an_image_that_arrives_damaged_is_fetched_again(
    url: str, own_cache: Cache, tmp_path: Path, flaky: type[Flaky]
) -> None:
    flaky.cuts = 1
    folder = local_copy(url, own_cache)
    for image in (path for path in folder.rglob("*") if path.is_file()):
        assert image.read_bytes() == (tmp_path / "few" / image.relative_to(folder)).read_bytes()
    flaky.cuts = 99
    with pytest.raises(StorageError, match="arrived damaged, three times"):
        local_copy(url, Cache(tmp_path / "other"))
    assert not entries(Cache(tmp_path / "other"))


def test_images_that_change_while_they_are_fetched_are_refused(url: str, own_cache: Cache, flaky: type[Flaky]) -> None:
    flaky.comes = True
    with pytest.raises(DataError, match="changed while it was fetched"):
        local_copy(url, own_cache)
    assert not entries(own_cache)


def test_a_copy_that_lost_a_file_is_fetched_again(url: str, own_cache: Cache) -> None:
    folder = local_copy(url, own_cache)
    lost = next(path for path in folder.rglob("*.*") if path.is_file())
    lost.unlink()
    assert (local_copy(url, own_cache) / lost.relative_to(folder)).is_file()


def test_of_two_processes_that_ask_at_once_one_fetches(url: str, own_cache: Cache) -> None:
    context = multiprocessing.get_context("spawn")
    start, found = context.Barrier(2), context.Queue()
    both = [context.Process(target=inode_of, args=(url, own_cache, start, found)) for _ in range(2)]
    for one in both:
        one.start()
    inodes = {found.get(timeout=30) for _ in both}
    for one in both:
        one.join()
    assert len(inodes) == 1  # what the second one fetched would be other files
    assert len(entries(own_cache)) == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("../outside.png", "leaves its folder by '..'", id="parent"),
        pytest.param("train/../../../outside.png", "leaves its folder by '..'", id="parent-further-down"),
        pytest.param("/outside.png", "begins with a slash", id="absolute"),
        pytest.param("train//outside.png", "empty or '.'", id="empty-part"),
        pytest.param("train\\..\\outside.png", "a backslash", id="backslash"),
        pytest.param("train/a\nb.png", "control characters", id="line-break"),
        pytest.param("train", "is the folder of others too", id="file-and-folder"),
    ],
)
def test_an_object_that_would_leave_the_folder_is_refused(
    s3: S3, url: str, bucket: str, own_cache: Cache, name: str, said: str
) -> None:
    # Clients tidy such names up on their way, so it is put where the server keeps its objects.
    s3_backends["123456789012"]["aws"].put_object(bucket, f"data/few/{name}", b"x")
    with pytest.raises(StorageError) as refused:
        local_copy(url, own_cache)
    assert said in str(refused.value)
    assert str(refused.value).startswith(f"{url}: the object {name!r}")
    assert not entries(own_cache)
    assert not list(own_cache.folder.parent.rglob("outside*"))


def test_a_search_goes_on_with_what_is_here_while_the_storage_is_lost(
    s3: S3, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "_TRUSTED_SECONDS", -1.0)
    cache = Cache(tmp_path / "cache")
    config = trial_config(url)  # type: ignore[arg-type]
    before = open_resident(config.data, config.image, cache=cache, patient=True)
    s3.stop()
    try:
        after = open_resident(config.data, config.image, cache=cache, patient=True)
        with pytest.raises(StorageError, match="cannot be reached"):
            local_copy(url, cache)  # who begins a search is told at once
    finally:
        s3.start()
    assert after.fingerprint == before.fingerprint


def test_a_machine_without_the_images_waits_for_the_storage(
    s3: S3, url: str, own_cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        s3.start()

    monkeypatch.setattr("tune_cnn.data.fetch.time.sleep", wait)
    s3.stop()
    assert local_copy(url, own_cache, patient=True).is_dir()
    assert waited == [1]


def test_a_trial_that_waits_for_many_images_does_not_hang(url: str, own_cache: Cache) -> None:
    silent: list[float] = []

    class TakesLong(Remote):
        def get(self, name: str, to: Path) -> None:
            silent.append(progress.silent_seconds())
            super().get(name, to)
            progress._signs.last -= 1000.0

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fetch, "Remote", TakesLong)
        patched.setattr(remote, "_AT_ONCE", 1)
        local_copy(url, own_cache, patient=True)
    assert len(silent) > 1
    assert max(silent) < 500.0


def test_images_too_many_for_the_cache_are_refused_with_the_figures(url: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be fetched: .* --cache-gb allows 0.0 MB; write --cache-gb 0.1"):
        local_copy(url, Cache(tmp_path / "small", limit_gb=0.0))


def fetched_by_another(url: str, cache: Cache) -> None:
    """Fetch in a process that then ends, so that nobody uses what it fetched."""
    other = multiprocessing.get_context("spawn").Process(target=local_copy, args=(url, cache))
    other.start()
    other.join()
    assert other.exitcode == 0


def test_images_that_nobody_uses_go_for_the_room_of_others(s3: S3, url: str, bucket: str, own_cache: Cache) -> None:
    fetched_by_another(url, own_cache)
    (old,) = entries(own_cache)
    size_bytes = sum(path.stat().st_size for path in (old.parent / "files").rglob("*") if path.is_file())
    s3.client.put_object(Bucket=bucket, Key="data/other/image.png", Body=b"x" * size_bytes)
    local_copy(f"s3://{bucket}/data/other", Cache(own_cache.folder, limit_gb=1.5 * size_bytes / 1e9))
    assert not old.exists()
    (new,) = entries(own_cache)
    with pytest.raises(DataError, match="are in use"):  # this process may read the other ones at any time
        local_copy(url, Cache(own_cache.folder, limit_gb=1.5 * size_bytes / 1e9))
    assert new.exists()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        pytest.param("s3://no-such-bucket-here/data", "no such bucket", id="missing-bucket"),
        pytest.param("s3://{bucket}/nothing", "nothing lies there", id="empty"),
        pytest.param("s3://", "names no bucket", id="no-bucket"),
        pytest.param("s3://{bucket}/a/../b", "'..'", id="parent"),
        pytest.param("ftp://host/data", "write s3://BUCKET/PREFIX", id="other-kind"),
        pytest.param("s3://AKIA:hushhushhush@{bucket}/data", "credentials", id="credentials"),
    ],
)
def test_an_address_without_images_is_one_clear_line(
    s3: S3, bucket: str, own_cache: Cache, address: str, said: str
) -> None:
    with pytest.raises(InputError) as refused:
        local_copy(address.format(bucket=bucket), own_cache)
    assert said in str(refused.value)
    assert "hushhush" not in str(refused.value)
    assert len(refused.value.faults) == 1


def test_a_storage_that_never_answers_holds_nobody() -> None:
    said = (
        "from tune_cnn.storage import remote\n"
        "remote._SECONDS_TO_ANSWER = 0.5\n"
        "try:\n    remote.Remote('s3://bucket/photos').answers()\n"
        "except remote.StorageError as error:\n    print(error)\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        nobody = {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        done = subprocess.run(
            [sys.executable, "-c", said],
            env={**os.environ, **nobody},
            capture_output=True,
            text=True,
            check=False,
            timeout=50,  # the first question itself takes over a minute to give up
        )
    assert done.stdout.startswith("s3://bucket/photos: no answer for ")
    assert not done.stderr


def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    own_cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    monkeypatch.delitem(_registry, "gs", raising=False)
    remote._filesystem.cache_clear()
    with pytest.raises(StorageError, match=r"^gs://: needs the package gcsfs, .* pip install 'tune-cnn\[gs\]'$"):
        local_copy("gs://bucket/photos", own_cache)


def test_a_forbidden_storage_is_one_clear_line(s3: S3, url: str, own_cache: Cache) -> None:
    s3.forbid()
    try:
        with pytest.raises(StorageError, match=f"^{url}: cannot be reached: no right to .*see to the credentials"):
            local_copy(url, own_cache)
    finally:
        s3.allow()
