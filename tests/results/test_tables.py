import json
from pathlib import Path

import pandas as pd
import pytest

from tune_cnn.results.tables import cell, csv_text, json_text, write_csv


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param("=cmd()|' /C calc'!A0", "'=cmd()|' /C calc'!A0", id="formula"),
        pytest.param("+1+1", "'+1+1", id="plus"),
        pytest.param("@SUM(A1)", "'@SUM(A1)", id="at"),
        pytest.param("\t=1", "'\t=1", id="tab"),
        pytest.param("\x1b[31mred", "�[31mred", id="terminal-escape"),
        pytest.param("a\u202eb\u2066c", "a�b�c", id="turned-round"),
        pytest.param("\x9b2J \x7f \r", "�2J � �", id="c1-and-delete"),
        pytest.param("\udcff.jpg", "�.jpg", id="an-undecodable-file-name"),
        pytest.param("1\u202f000 a\u200cb\u200f", "1\u202f000 a\u200cb\u200f", id="narrow-space-joiner-and-mark"),
        pytest.param("=\u200c1", "'=\u200c1", id="formula-with-a-joiner"),
        pytest.param(-0.5, "-0.5", id="a-negative-number-stays-a-number"),
        pytest.param(float("nan"), "", id="nan-is-missing"),
        pytest.param(None, "", id="none-is-missing"),
        pytest.param(1e-05, "1e-05", id="small"),
        pytest.param(True, "true", id="bool"),
    ],
)
def test_a_cell_cannot_be_run_by_a_spreadsheet(value: object, text: str) -> None:
    assert cell(value) == text


def test_names_with_commas_quotes_and_line_breaks_come_back(tmp_path: Path) -> None:
    names = ["a,b", 'say "hi"', "two\nlines", "späte Æ"]
    write_csv(tmp_path / "t.csv", ["name"], [{"name": name} for name in names])
    assert list(pd.read_csv(tmp_path / "t.csv")["name"]) == names


def test_floats_keep_all_their_digits() -> None:
    assert float(csv_text(["x"], [{"x": 0.1 + 0.2}]).splitlines()[1]) == 0.1 + 0.2


def test_no_rows_give_a_header() -> None:
    assert csv_text(["a", "b"], []) == "a,b\n"


def test_json_has_no_nan_and_keeps_every_name() -> None:
    data = {"a": [float("nan"), float("inf"), 0.5, None, True], ":smile:": {"[red]é": (1, "=x")}}
    assert json.loads(json_text(data), parse_constant=pytest.fail) == {
        "a": [None, None, 0.5, None, True],
        ":smile:": {"[red]é": [1, "=x"]},
    }
