from pathlib import Path

import pytest

from tune_cnn.results.display import place, word


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        pytest.param("runs/a", "runs/a", id="below-the-working-directory"),
        pytest.param(".", None, id="the-working-directory-itself"),
        pytest.param("../elsewhere", None, id="beside-it"),
    ],
)
def test_a_path_is_relative_where_it_lies_below_the_working_directory(
    path: str, shown: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    whole = (here / path).resolve()
    assert place(whole) == (str(whole) if shown is None else shown)


def test_a_path_in_the_home_folder_begins_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(elsewhere)
    assert place(home / ".cache" / "file") == "~/.cache/file"


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        pytest.param("home/runs/a", "~/runs/a", id="at-home"),
        pytest.param("home/my runs/a", "~/'my runs/a'", id="a-blank"),
        pytest.param("here/$(id)", "'$(id)'", id="what-a-shell-would-run"),
        pytest.param("here/runs/a", "runs/a", id="below-the-working-directory"),
    ],
)
def test_a_path_in_a_command_that_is_advised_can_be_pasted(
    path: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert word(place(tmp_path / path)) == shown
