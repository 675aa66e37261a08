"""CSV files that can be opened in a spreadsheet without running what is in them, and JSON that any parser reads."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tune_cnn.errors import InputError
from tune_cnn.files import write_whole
from tune_cnn.results.display import visible

# A spreadsheet takes a text cell that begins with one of these for a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, durable: bool = True) -> None:
    """Write rows whole or not at all. Floats keep all their digits; what is missing, None or NaN is an empty cell.

    `durable` as for `write_whole`.
    """
    write_whole(path, csv_text(columns, rows), durable=durable)


def write_asked(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a CSV where the user asked for it.

    Raises:
        InputError: nothing can be written there.
    """
    try:
        write_csv(path, columns, rows)
    except OSError as error:
        raise InputError(f"--csv {path}: cannot be written: {error.strerror}; write it elsewhere") from error


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Give the text of a CSV file; without rows, its header alone."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([cell(column) for column in columns])
    writer.writerows([cell(row.get(column)) for column in columns] for row in rows)
    return text.getvalue()


def cell(value: Any) -> str:
    """Give the text of one cell, defused where a spreadsheet would run it as a formula."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    text = visible(str(value))
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def json_text(data: Any) -> str:
    """Give JSON in one line of ASCII; what is NaN or infinite, for which JSON has no word, is null."""
    return json.dumps(_finite(data), allow_nan=False)


def _finite(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {name: _finite(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
