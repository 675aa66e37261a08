import hashlib
from collections.abc import Iterable
from pathlib import Path

import pytest

from tune_cnn.errors import WeightsError
from tune_cnn.search.handout import put_in_place

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


def test_where_the_weights_cannot_be_written_the_machine_is_named(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file, not a folder")
    with pytest.raises(WeightsError, match=r"cannot be written on .*Not a directory.*, which lacks it; put"):
        put_in_place(tmp_path / "blocked" / "net.safetensors", SHA256, Driver())
