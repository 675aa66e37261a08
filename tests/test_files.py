"""Files that a stranger may have put there are read with care."""

import os
from pathlib import Path

import pytest

from tune_cnn.files import read_file, read_json


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"seven b")
    assert read_file(file, most_bytes=7) == b"seven b"
    with pytest.raises(OSError, match="holds more than 6 bytes"):
        read_file(file, most_bytes=6)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "circle"])
def test_what_is_no_file_is_neither_waited_for_nor_read_without_end(kind: str, tmp_path: Path) -> None:
    there = tmp_path / "there"
    match kind:
        case "pipe":
            os.mkfifo(there)
        case "device":
            there.symlink_to("/dev/zero")
        case "folder":
            there.mkdir()
        case _:
            there.symlink_to(there)
    with pytest.raises(OSError, match=str(there)):
        read_file(there, most_bytes=7)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000 + "]" * 100_000], ids=["empty", "half", "nested-too-deep"])
def test_what_is_no_json_is_a_value_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"Expecting|nested too deep"):
        read_json(tmp_path / "a.json")
