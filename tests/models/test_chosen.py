"""Whose model is taken for a folder, and that what is wrong is told before torch is imported."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import trial_config
from tune_cnn.data.cache import Cache
from tune_cnn.errors import RunFolderError
from tune_cnn.files import point_to
from tune_cnn.models.chosen import check_scorable, check_usable, chosen_model
from tune_cnn.models.saved import load_model
from tune_cnn.results.records import RunFolder
from tune_cnn.trial import run_trial


@pytest.fixture(scope="module")
def run(shapes: Path, cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run folder with one trial, as far as its models go."""
    run = RunFolder(tmp_path_factory.mktemp("runs") / "photos")
    config = trial_config(shapes, training={"epochs": 1, "batch_size": 8})
    run_trial(config, run.trial(3), metric="val_accuracy", cache=cache)
    run.study.touch()
    point_to(run.best, run.trial(3).best)
    return run


@pytest.mark.parametrize(
    ("given", "folder", "told"),
    [
        pytest.param("", "best", "its best model, of trial 3", id="a-run"),
        pytest.param("trials/0003", "trials/0003/best", "its best model, of epoch 1", id="a-trial"),
        pytest.param("best", "best", "", id="the-best-of-a-run"),
        pytest.param("trials/0003/best", "trials/0003/best", "", id="the-best-of-a-trial"),
    ],
)
def test_of_a_run_or_a_trial_the_best_model_is_taken(given: str, folder: str, told: str, run: RunFolder) -> None:
    chosen = chosen_model(run.path / given)
    assert chosen.folder == run.path / folder
    assert chosen.told == (f"{run.path / given}: {told}" if told else "")
    check_usable(chosen.folder)


def test_a_winner_of_the_finals_is_named_with_its_repeat(run: RunFolder, tmp_path: Path) -> None:
    mine = RunFolder(tmp_path / "photos")
    shutil.copytree(run.best, mine.final(12, 2).best)
    point_to(mine.best, mine.final(12, 2).best)
    assert chosen_model(mine.path).told.endswith("its best model, of trial 12, repeat 2 of the finals")


def test_a_run_without_a_model_says_so(tmp_path: Path) -> None:
    (tmp_path / "study.db").touch()
    with pytest.raises(RunFolderError, match="no trial has a model yet"):
        chosen_model(tmp_path)


def _spoilt(name: str) -> Callable[[Path], object]:
    def spoil(model: Path) -> None:
        file = model / name
        file.write_bytes(file.read_bytes().replace(b"0", b"1"))

    return spoil


@pytest.mark.parametrize("use", [check_scorable, load_model], ids=["before-torch", "with-its-network"])
@pytest.mark.parametrize(
    ("damage", "says"),
    [
        pytest.param(_spoilt("model.json"), "model.json: damaged", id="card"),
        pytest.param(lambda model: (model / "model.safetensors").unlink(), "model.safetensors: no such", id="weights"),
    ],
)
def test_a_damaged_model_is_named_as_it_was_given(
    use: Callable[..., object], damage: Callable[[Path], object], says: str, run: RunFolder, tmp_path: Path
) -> None:
    mine = RunFolder(Path(shutil.copytree(run.path, tmp_path / "photos", symlinks=True)))
    damage(mine.best)
    with pytest.raises(RunFolderError) as refused:
        use(mine.best, *([None] if use is check_scorable else []))
    assert str(refused.value).startswith(f"{mine.best / says.partition(':')[0]}: ")
    assert says in str(refused.value)
    assert "/." not in str(refused.value)


CALLS = """
import contextlib, io, sys
from tune_cnn.cli import main
for line in sys.stdin.read().splitlines():
    sys.argv = ["tune-cnn", *line.split()]
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.suppress(SystemExit):
        main()
    print(said.getvalue().splitlines()[-1], "torch" in sys.modules, sep="|")
"""


def test_simple_faults_are_told_before_torch_is_imported(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    calls = {
        f"evaluate {tmp_path}": "model.json: no such file; give a model folder",
        f"evaluate {run.path} --split dev": "--split dev: no such split",
        f"evaluate {run.path} --data {tmp_path}/nowhere": "nowhere: data.root is not there",
        f"evaluate {run.path} --data {tmp_path}/a.txt": "a.txt: data.root is a file, not a folder",
        f"predict {run.path} {tmp_path}/no.jpg": "no.jpg: cannot be read: no such file",
        f"predict {tmp_path} {tmp_path}/a.txt": "model.json: no such file; give a model folder",
        f"predict resnet18 {tmp_path}/no.jpg": "no.jpg: cannot be read: no such file",
    }
    given = "\n".join(calls)
    ended = subprocess.run([sys.executable, "-c", CALLS], input=given, capture_output=True, text=True, check=True)
    told = ended.stdout.splitlines()
    assert len(told) == len(calls)
    for line, says in zip(told, calls.values(), strict=True):
        assert says in line
        assert line.endswith("|False")


def test_a_run_is_scored_and_asked_by_its_name_alone(run: RunFolder, shapes: Path, tune_cnn: Any) -> None:
    scored = tune_cnn("evaluate", run.path, "--split", "test", "--json")
    assert (scored.code, scored.err) == (0, f"{run.path}: its best model, of trial 3\n")
    assert json.loads(scored.out)["test"]["images"] == 15
    image = next((shapes / "test").rglob("*.jpg"))
    assert tune_cnn("predict", run.path, image).out == tune_cnn("predict", run.best, image).out
