import hashlib
import math
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock

from tune_cnn import progress
from tune_cnn.errors import WeightsError
from tune_cnn.progress import Patience
from tune_cnn.search.handout import pieces_of, put_in_place

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Driver:
    """Gives the content, and counts how often."""

    asked = 0

    def __call__(self) -> Iterable[bytes]:
        self.asked += 1
        yield CONTENT[:1000]
        yield CONTENT[1000:]


def test_a_machine_that_lacks_the_weights_gets_them_once(tmp_path: Path) -> None:
    driver, file = Driver(), tmp_path / "cache" / "weights" / "net.safetensors"
    for _ in range(3):
        put_in_place(file, SHA256, driver)
    assert file.read_bytes() == CONTENT
    assert driver.asked == 1


def test_a_machine_that_sees_the_drivers_disk_asks_for_nothing(tmp_path: Path) -> None:
    driver, file = Driver(), tmp_path / "net.safetensors"
    file.write_bytes(CONTENT)
    put_in_place(file, SHA256, driver)
    assert driver.asked == 0
    assert list(tmp_path.iterdir()) == [file]


def test_other_weights_of_the_same_name_are_never_trained_from(tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    file.write_bytes(b"others")
    with pytest.raises(WeightsError, match=r"net\.safetensors: other weights on .* than where the search was started"):
        put_in_place(file, SHA256, Driver())
    assert file.read_bytes() == b"others"


def test_weights_that_take_long_give_a_sign_of_life_with_each_piece(tmp_path: Path) -> None:
    silences: list[float] = []

    def slowly() -> Iterator[bytes]:
        for begin in range(0, len(CONTENT), 1000):
            progress._signs.last -= 1000.0  # as if it had taken so long
            yield CONTENT[begin : begin + 1000]
            silences.append(progress.silent_seconds())

    progress.begin()
    put_in_place(tmp_path / "net.safetensors", SHA256, slowly)
    assert len(silences) == 7
    assert max(silences) < 1000.0


def test_who_waits_for_another_process_that_fetches_the_weights_does_not_hang(tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    progress.begin()
    with ThreadPoolExecutor(1) as pool, FileLock(f"{file}.lock") as lock:
        waiting = pool.submit(put_in_place, file, SHA256, Driver())
        deadline = time.monotonic() + 60
        while progress.limit_seconds(Patience()) != math.inf:
            assert time.monotonic() < deadline
        lock.release()
        waiting.result()
    assert progress.limit_seconds(Patience()) < math.inf
    assert file.read_bytes() == CONTENT


def test_a_file_comes_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tune_cnn.search.handout._PIECE_BYTES", 3000)
    file, empty = tmp_path / "net.safetensors", tmp_path / "empty"
    file.write_bytes(CONTENT)
    empty.write_bytes(b"")
    assert [len(piece) for piece in pieces_of(file)] == [3000, 3000, 1000]
    assert b"".join(pieces_of(file)) == CONTENT
    assert not list(pieces_of(empty))


def test_where_the_weights_cannot_be_written_the_machine_is_named(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file, not a folder")
    with pytest.raises(WeightsError, match=r"cannot be written on .*Not a directory.*, which lacks it; put"):
        put_in_place(tmp_path / "blocked" / "net.safetensors", SHA256, Driver())
