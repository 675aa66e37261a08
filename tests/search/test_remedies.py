"""A run that has lost a file or some of its images: what is advised is true, can be typed, and helps."""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.ground import Ground
from tests.data.pictures import jpeg, put
from tests.search.in_process import train_in_this_process

SETS = ("search.trials=1", "training.epochs=1", "search.finals=null", "search.asha=null")
SEARCH = ("search", "chaos.yaml", *(f"--set={text}" for text in SETS))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, and a run on them; nothing is done to it."""
    folder = Ground.make(tmp_path_factory.mktemp("whole") / "project").path
    with pytest.MonkeyPatch.context() as patch:
        train_in_this_process(patch, tmp_path_factory.mktemp("scratch"))
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setattr("sys.argv", ["tune-cnn", *SEARCH])
        from tune_cnn import cli

        with pytest.raises(SystemExit, match="0"):
            cli.main()
    return folder


@pytest.fixture
def project(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tune_cnn: Any) -> Path:
    """A copy of it, in which commands are called."""
    folder = Path(shutil.copytree(whole, tmp_path / "project", symlinks=True))
    space = folder / "runs/chaos/space.yaml"
    space.write_text(space.read_text().replace(str(whole), str(folder)))
    train_in_this_process(monkeypatch, tmp_path)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    return folder


def advised(text: str) -> list[str]:
    """The words of the command that a message ends with."""
    (command,) = re.findall(r"tune-cnn (search \S.*)$", text.strip())
    return shlex.split(command)


def test_images_that_are_damaged_and_images_that_are_gone_are_told_at_once(project: Path, tune_cnn: Any) -> None:
    damaged, gone = project / "images/train/cat/0.jpg", project / "images/train/dog/1.jpg"
    before = damaged.read_bytes(), gone.read_bytes()
    put(damaged, b"x")
    gone.unlink()
    said = tune_cnn("resume", "runs/chaos")
    assert said.code == 2
    first, *named, way_out = said.err.splitlines()
    assert "some of the images that it began with cannot be read, others are gone" in first
    assert [line.partition(": ")[0] for line in named] == [f"  {damaged}", "  train"]
    assert named[-1] == "  train: 8 images then, 7 now"
    assert "on_bad: skip" not in said.err, "a run that has begun refuses that"
    assert "data.on_bad=skip" in way_out
    new = tune_cnn(*advised(way_out))
    assert (new.code, "1 skipped" in new.out) == (0, True), new.err
    for file, data in zip((damaged, gone), before, strict=True):
        put(file, data)
    assert tune_cnn("resume", "runs/chaos").code == 0


def test_a_search_that_has_not_begun_is_told_that_it_may_leave_damaged_images_out(project: Path, tune_cnn: Any) -> None:
    put(project / "images/train/cat/0.jpg", b"x")
    said = tune_cnn(*SEARCH, "--name", "new")
    assert said.err.endswith("replace it, or write data.on_bad: skip to leave it out\n")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize("damage", [Path.unlink, cut], ids=["gone", "cut-in-half"])
@pytest.mark.parametrize("command", ["resume", "leaderboard"])
def test_without_study_db_it_is_said_what_stays_and_how_to_begin_anew(
    command: str, damage: Callable[[Path], object], project: Path, tune_cnn: Any
) -> None:
    damage(project / "runs/chaos/study.db")
    said = tune_cnn(command, "runs/chaos")
    assert (said.code, len(said.err.splitlines())) == (2, 1)
    assert "bring it back from a copy" in said.err
    (left,) = re.findall(r"what was written from it stays \((.*?), the trials' folders\)", said.err)
    assert left == "leaderboard.csv, epochs.csv, best"
    assert advised(said.err) == ["search", "runs/chaos/space.yaml", "--name", "OTHER"]
    assert tune_cnn("evaluate", "runs/chaos/best", "--json").code == 0


def test_a_damaged_run_json_is_written_anew_once_it_is_deleted(project: Path, tune_cnn: Any) -> None:
    facts = project / "runs/chaos/run.json"
    cut(facts)
    said = tune_cnn("resume", "runs/chaos")
    assert (said.code, len(said.err.splitlines())) == (2, 1)
    assert "or delete it: tune-cnn resume runs/chaos writes it anew" in said.err
    assert tune_cnn("leaderboard", "runs/chaos").code == 0
    facts.unlink()
    assert tune_cnn("resume", "runs/chaos").code == 0
    assert facts.is_file()


def test_other_images_are_not_taken_for_those_of_the_trials_where_run_json_is_gone(
    project: Path, tune_cnn: Any
) -> None:
    facts = project / "runs/chaos/run.json"
    facts.unlink()
    put(project / "images/train/dog/1.jpg", jpeg(77, (12, 10)))
    said = tune_cnn("resume", "runs/chaos")
    assert said.code == 2
    assert "its trials saw other images (fingerprint " in said.err
    assert not facts.exists(), "it would say that these are the images that the run began with"
