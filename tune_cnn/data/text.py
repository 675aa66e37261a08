"""Text files that come with images, as people's programs write them: UTF-8 with or without a mark, any line ends."""

import csv
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

from tune_cnn.data.places import DataRoot, is_file, nearest
from tune_cnn.data.table import shown

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class UnreadableTextError(ValueError):
    """A text file cannot be used; the text begins with the file's path."""


def find_text(root: DataRoot, folder: Path, written: str, *, said_by: str) -> Path:
    """The file `written` in `folder`, or what is wrong with it.

    Raises:
        UnreadableTextError: it is not there, or outside the data root; names what is there instead.
    """
    fault = root.fault_in_name(written)
    path = folder / written
    if fault is not None:
        raise UnreadableTextError(f"{folder}: {said_by}: {fault}")
    if not is_file(path):
        known = sorted(entry.name for entry in folder.iterdir() if entry.suffix.lower() in (".txt", ".csv", ".tsv"))
        there_is = nearest(written, known, what="text files")
        raise UnreadableTextError(f"{folder}: {said_by}: no file {shown(written)}; {there_is}")
    if not root.holds(path):
        raise UnreadableTextError(f"{path}: {said_by}: a symbolic link out of the data folder; put the file there")
    return path


def read_text(path: Path) -> str:
    """The whole text without a byte order mark; line ends as they are.

    Raises:
        UnreadableTextError: not readable, or not UTF-8; says in which line.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableTextError(f"{path}: cannot be read: {error.strerror}") from error
    if data.startswith(_UTF16_MARKS):
        raise UnreadableTextError(f"{path}: is UTF-16; save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnreadableTextError(f"{path}:{line}: byte {data[error.start]:#04x} is no UTF-8; save it so") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UnreadableTextError(f"{path}:{line}: holds a zero byte; this is no text file")
    return text


def csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Give the rows of a table that are not blank, each with its line, the space around the fields taken off.

    Commas, semicolons or tabs part the fields, whichever the first line has most of.

    Raises:
        UnreadableTextError: not readable, or quotes that do not close.
    """
    text = read_text(path)
    header = text.lstrip("\r\n").split("\n", 1)[0]
    reader = csv.reader(StringIO(text, newline=""), delimiter=max(",;\t", key=header.count), strict=True)
    while True:
        try:
            fields = [field.strip() for field in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            raise UnreadableTextError(f"{path}:{reader.line_num}: {error}; check the quotes from here on") from error
        if any(fields):
            yield reader.line_num, fields
