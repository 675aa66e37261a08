"""A stranger's run folder: nothing is written, deleted or emptied outside of it, whatever its links say."""

import os
import re
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.ground import AT_RANDOM, Ground
from tests.chaos.processes import Order, run
from tests.malformed_runs import MALFORMED_RUNS, MalformedRun
from tune_cnn.errors import RunFolderError
from tune_cnn.results.records import RunFolder
from tune_cnn.results.run_links import refuse_links_out

FEW = ("--set", "search.trials=2", "--set", "training.epochs=1")
LINKED = ["trials", "trials/0000", "trials/0000/trial.log", "trials/0001/last", "study.db", "run.json", ".driver.lock"]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground.make(tmp_path_factory.mktemp("ground"))


@pytest.fixture(scope="module")
def searched(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("searched")
    code, said = run(Order((*ground.search(folder / "run", AT_RANDOM), *FEW), folder / "out", folder / "trained"))
    assert code == 0, said
    return folder / "run"


@pytest.fixture
def theirs(searched: Path, tmp_path: Path) -> RunFolder:
    return RunFolder(Path(shutil.copytree(searched, tmp_path / "theirs", symlinks=True)))


@pytest.fixture(scope="module")
def odd(searched: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of which files are damaged, and then mended."""
    return Path(shutil.copytree(searched, tmp_path_factory.mktemp("odd") / "run", symlinks=True))


@pytest.mark.parametrize("case", MALFORMED_RUNS, ids=lambda case: case.id)
def test_an_odd_file_in_a_run_or_a_model_is_one_clear_message_and_exit_code_2(
    case: MalformedRun, odd: Path, searched: Path, ground: Ground, tune_cnn: Any
) -> None:
    image = ground.path / "images" / "test" / "cat" / "0.jpg"
    case.damage(odd / case.file)
    try:
        for words in case.commands:
            said = tune_cnn(*(word.format(run=odd, image=image) for word in words))
            assert (said.code, said.out) == (2, ""), words
            assert case.says in said.err
            assert len(said.err.splitlines()) <= 3
            assert not re.search("Traceback|[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", said.err)
    finally:
        mend(odd, searched, case.file)


def mend(odd: Path, whole: Path, file: str) -> None:
    for name in {file, "run.json", "space.yaml", "study.db", "best/model.json"}:
        damaged = odd / name
        shutil.rmtree(damaged) if damaged.is_dir() and not damaged.is_symlink() else damaged.unlink(missing_ok=True)
        shutil.copyfile(whole / name, damaged)


def lead_out(run_folder: RunFolder, name: str, outside: Path) -> Path:
    """Put a file or folder of a run elsewhere, with more of the victim's in it, and a link in its place."""
    there = run_folder.path / name
    outside.mkdir()
    mine = outside / "mine"
    if there.is_dir():
        there.rename(mine)
        (mine / "precious").write_text("precious")
    else:
        there.unlink(missing_ok=True)
        mine.write_text("precious")
    there.symlink_to(mine)
    return mine


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("name", LINKED)
def test_a_link_that_leads_out_of_a_run_is_named(name: str, theirs: RunFolder, tmp_path: Path) -> None:
    if name == "trials/0001/last":
        (theirs.path / name).mkdir()
    lead_out(theirs, name, tmp_path / "outside")
    with pytest.raises(RunFolderError, match="a link that leads out of the run folder"):
        refuse_links_out(theirs.path)


def test_links_in_a_circle_pipes_and_devices_are_named(tmp_path: Path) -> None:
    theirs = RunFolder(tmp_path / "run")
    theirs.trial(0).path.mkdir(parents=True)
    theirs.space.symlink_to(theirs.space)
    os.mkfifo(theirs.trial(0).log)
    with pytest.raises(RunFolderError) as refused:
        refuse_links_out(theirs.path)
    assert sorted(refused.value.faults) == [
        f"{theirs.space}: a link that leads round in a circle; put the file itself in its place",
        f"{theirs.trial(0).log}: a pipe or a device, which no search makes; delete it",
    ]


def test_what_comes_and_goes_while_one_looks_is_no_pipe(tmp_path: Path) -> None:
    part, over = tmp_path / "run" / ".leaderboard.csv.part", threading.Event()
    part.parent.mkdir()

    def come_and_go() -> None:
        while not over.is_set():
            part.touch()
            part.unlink()

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        for _ in range(2000):
            refuse_links_out(part.parent)
    finally:
        over.set()
        other.join()


def test_links_within_a_run_are_its_own(theirs: RunFolder, tmp_path: Path) -> None:
    assert theirs.best.is_symlink()
    refuse_links_out(theirs.path)
    refuse_links_out(tmp_path / "none yet")


@pytest.mark.parametrize("name", ["trials/0000", ".driver.lock"])
def test_a_search_that_goes_on_in_such_a_folder_touches_nothing_outside(
    name: str, theirs: RunFolder, tmp_path: Path, ground: Ground
) -> None:
    lead_out(theirs, name, tmp_path / "outside")
    before = content(tmp_path / "outside")
    code, said = run(Order(ground.resume(theirs.path), tmp_path / "out", tmp_path / "trained"))
    assert (code, "Traceback" in said) == (2, False), said
    assert "leads out of the run folder" in said
    assert content(tmp_path / "outside") == before
