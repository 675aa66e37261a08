import json
import os
import resource
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.pictures import put
from tune_cnn.data.cache import ArraySpec, Cache, CacheUnusableError, Entry, Writer, in_memory

SPECS = {"images": ArraySpec((4, 50, 50, 3), np.uint8), "scores": ArraySpec((4,), np.float32)}
ENTRY_GB = 31_000 / 10**9  # a little more than an entry takes


def images(seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (4, 50, 50, 3), np.uint8)


def build(writer: Writer) -> Mapping[str, Any]:
    for rows in np.array_split(images(), 2):
        writer.append("images", rows)
    writer.append("scores", np.arange(4, dtype=np.float32))
    return {"made": [1, 2]}


def never(_writer: Writer) -> Mapping[str, Any]:
    raise AssertionError("an entry that stands is not made again")


def make(cache: Cache, key: str = "k1") -> Entry:
    return cache.arrays("views", key, SPECS, build)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def test_an_entry_is_made_once_and_gives_what_was_written(cache: Cache) -> None:
    assert cache.find("views", "k1", SPECS) is None
    for entry in (make(cache), cache.arrays("views", "k1", SPECS, never), cache.find("views", "k1", SPECS)):
        assert entry is not None
        assert isinstance(entry.arrays["images"], np.memmap)
        assert not entry.arrays["images"].flags.writeable
        assert np.array_equal(entry.arrays["images"], images())
        assert entry.arrays["scores"].tolist() == [0, 1, 2, 3]
        assert entry.facts == {"made": [1, 2]}


def test_what_fits_no_cache_is_the_same_in_memory(cache: Cache) -> None:
    held, kept = in_memory(SPECS, build), make(cache)
    assert held.facts == kept.facts
    for name in SPECS:
        assert np.array_equal(held.arrays[name], kept.arrays[name])
        assert held.arrays[name].dtype == kept.arrays[name].dtype
        assert not held.arrays[name].flags.writeable


def test_an_array_without_rows_is_kept_too(cache: Cache) -> None:
    none = {"images": ArraySpec((0, 5, 5, 3), np.float16)}
    for _ in range(2):
        entry = cache.arrays("views", "none", none, lambda _writer: {})
        assert entry.arrays["images"].shape == (0, 5, 5, 3)
        assert entry.arrays["images"].dtype == np.float16


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        pytest.param(images()[:, :4], r"images: rows of \(4, 50, 3\) uint8, not of \(50, 50, 3\)", id="other-shape"),
        pytest.param(images().astype(np.int8), "rows of .* int8, not of .* uint8", id="other-type"),
        pytest.param(images()[:3], "images: 3 rows were written, not 4", id="too-few"),
        pytest.param(np.concatenate([images()] * 2), "images: 8 rows were written, not 4", id="too-many"),
    ],
)
def test_what_is_not_of_its_spec_makes_no_entry(cache: Cache, rows: Any, says: str) -> None:
    def wrong(writer: Writer) -> Mapping[str, Any]:
        writer.append("images", rows)
        return {}

    specs = {"images": SPECS["images"]}
    with pytest.raises(ValueError, match=says):
        cache.arrays("views", "k1", specs, wrong)
    assert not list(cache.folder.glob("views/*k1*/*"))


def test_what_a_builder_raises_goes_up_and_leaves_nothing(cache: Cache) -> None:
    def fails(writer: Writer) -> Mapping[str, Any]:
        writer.append("images", images())
        raise FileNotFoundError("a file of the builder's own")

    with pytest.raises(FileNotFoundError, match="of the builder's own"):
        cache.arrays("views", "k1", SPECS, fails)
    assert [path.name for path in cache.folder.glob("views/*")] == ["k1.lock"]
    make(cache)


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def of_another_version(entry: Path) -> None:
    outer = json.loads((entry / "entry.json").read_text())
    (entry / "entry.json").write_text(
        json.dumps(outer | {"content": outer["content"].replace('"format": 1', '"format": 0')})
    )


def a_file_instead(entry: Path) -> None:
    shutil.rmtree(entry)
    entry.write_text("x")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a-byte-flipped": lambda entry: flipped(entry / "images.npy"),
    "cut-short": lambda entry: (entry / "images.npy").write_bytes((entry / "images.npy").read_bytes()[:-1]),
    "longer": lambda entry: (entry / "images.npy").write_bytes((entry / "images.npy").read_bytes() + b"x"),
    "empty": lambda entry: (entry / "images.npy").write_bytes(b""),
    "of-another-shape": lambda entry: np.save(entry / "images.npy", np.zeros((3, 100), np.uint8)),
    "pickled": lambda entry: np.save(entry / "images.npy", np.array([{"a": 1}], object), allow_pickle=True),
    "an-array-missing": lambda entry: (entry / "scores.npy").unlink(),
    "facts-missing": lambda entry: (entry / "entry.json").unlink(),
    "facts-cut-short": lambda entry: (entry / "entry.json").write_text('{"crc32": 1, "content": "'),
    "facts-a-list": lambda entry: (entry / "entry.json").write_text("[]"),
    "facts-of-text": lambda entry: (entry / "entry.json").write_text('{"crc32": 0, "content": 5}'),
    "facts-changed": lambda entry: flipped(entry / "entry.json"),
    "of-another-version": of_another_version,
    "a-file-in-its-place": a_file_instead,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_entry_is_made_anew(cache: Cache, damage: Callable[[Path], object]) -> None:
    used = make(cache)
    damage(cache.folder / "views" / "k1")
    assert cache.find("views", "k1", SPECS) is None
    again = make(cache)
    assert again.facts == {"made": [1, 2]}
    assert np.array_equal(again.arrays["images"], images())
    assert isinstance(again.arrays["images"], np.memmap)
    assert used.arrays["scores"].tolist() == [0, 1, 2, 3], "who had it open keeps what was not damaged"
    assert sorted(path.name for path in cache.folder.glob("views/*")) == ["k1", "k1.lock"]


def test_other_specs_make_the_entry_anew(cache: Cache) -> None:
    def other(writer: Writer) -> Mapping[str, Any]:
        writer.append("images", images().reshape(5, 40, 50, 3))
        return {}

    make(cache)
    specs = {"images": ArraySpec((5, 40, 50, 3), np.uint8)}
    assert cache.find("views", "k1", specs) is None
    assert np.array_equal(
        cache.arrays("views", "k1", specs, other).arrays["images"][0], images().reshape(5, 40, 50, 3)[0]
    )


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit_gb=3 * ENTRY_GB)
    for key in ("a", "b", "c"):
        make(cache, key)
        os.utime(tmp_path / "views" / key, ns=(0, ord(key)))
    cache.find("views", "a", SPECS)
    make(cache, "d")
    assert sorted(path.name for path in tmp_path.glob("views/?")) == ["a", "c", "d"]
    assert not (tmp_path / "views/b.lock").exists()


def test_an_entry_in_use_stays_even_through_a_part_of_it(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit_gb=2 * ENTRY_GB)
    part = make(cache, "a").arrays["images"][1:2]
    make(cache, "b")
    make(cache, "c")
    assert sorted(path.name for path in tmp_path.glob("views/?")) == ["a", "c"]
    assert np.array_equal(part, images()[1:2])


def test_where_nothing_can_go_the_figures_are_told_and_nothing_is_lost(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit_gb=2 * ENTRY_GB)
    used = make(cache, "a")
    make(cache, "b")
    large = {"images": ArraySpec((2, 10**9), np.uint8)}
    with pytest.raises(CacheUnusableError, match=r"2\.0 GB are needed, .* allows 0\.1 MB; write --cache-gb 2\.1\)"):
        cache.arrays("views", "c", large, never)
    assert sorted(path.name for path in tmp_path.glob("views/?")) == ["a", "b"]
    assert used.facts


def test_what_the_disk_cannot_hold_is_told_before_it_is_tried(cache: Cache) -> None:
    large = {"images": ArraySpec((10**9, 10**9), np.uint8)}
    for limited in (cache, Cache(cache.folder, limit_gb=10**10)):
        with pytest.raises(CacheUnusableError, match=r"the disk has .* free; write --cache-dir on another disk"):
            limited.arrays("views", "c", large, never)


def test_without_a_limit_half_of_the_disk_is_left_to_others(cache: Cache) -> None:
    cache.folder.mkdir()
    much = {"images": ArraySpec((shutil.disk_usage(cache.folder).free * 7 // 10,), np.uint8)}
    with pytest.raises(CacheUnusableError, match=r"no more than half of the .* GB .*; write --cache-gb [0-9.]+, or"):
        cache.arrays("views", "c", much, never)


def test_only_entries_are_ever_removed(tmp_path: Path) -> None:
    weights = put(tmp_path / "weights" / "net" / "w.safetensors", bytes(1000))
    foreign = put(tmp_path / "views" / "mine" / "entry.json", b"{}").with_name("notes.txt")
    foreign.write_text("of someone else's")
    cache = Cache(tmp_path, limit_gb=ENTRY_GB)
    for key in ("a", "b"):
        make(cache, key)
    assert weights.exists()
    assert foreign.exists()
    assert sorted(path.name for path in tmp_path.glob("views/?")) == ["b"]


def test_a_full_disk_leaves_nothing_behind(cache: Cache) -> None:
    make(cache, "a")
    usual, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))  # the first array has 30,000 bytes
    try:
        with pytest.raises(CacheUnusableError, match="File too large"):
            make(cache, "b")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (usual, hard))
    assert sorted(path.name for path in cache.folder.glob("views/*")) == ["a", "a.lock", "b.lock"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    blocked = put(tmp_path / "a-file-not-a-folder", b"")
    with pytest.raises(CacheUnusableError, match=f"the cache in {blocked} cannot be used"):
        make(Cache(blocked))


def test_a_note_is_made_once(cache: Cache) -> None:
    made: Iterator[dict[str, Any]] = iter([{"faster": "bf16", "of": (1, 2)}, {"faster": "never seen"}])
    for _ in range(2):
        assert cache.note("probes", "k1", lambda: next(made)) == {"faster": "bf16", "of": [1, 2]}


def test_a_damaged_note_is_made_anew(cache: Cache) -> None:
    cache.note("probes", "k1", lambda: {"a": 1})
    flipped(cache.folder / "probes" / "k1.json")
    assert cache.note("probes", "k1", lambda: {"a": 2}) == {"a": 2}
    assert cache.note("probes", "k1", lambda: {"a": 3}) == {"a": 2}


def test_without_a_folder_a_note_is_made_each_time(tmp_path: Path) -> None:
    cache = Cache(put(tmp_path / "a-file-not-a-folder", b""))
    made = iter([{"a": 1}, {"a": 2}])
    assert [cache.note("probes", "k1", lambda: next(made)) for _ in range(2)] == [{"a": 1}, {"a": 2}]
