"""`best` is held against what the tables call the best."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from tune_cnn.files import point_to
from tune_cnn.results.best_doubts import best_doubt
from tune_cnn.results.best_model import write_model
from tune_cnn.results.records import RunFolder, TrialFolder
from tune_cnn.results.trial_files import new_best


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path)
    for folder in (run.trial(2), run.trial(6), run.final(2, 1)):
        _write_best(folder)
    point_to(run.best, run.trial(2).best)
    return run


def _write_best(folder: TrialFolder) -> None:
    folder.path.mkdir(parents=True)
    with new_best(folder, 1) as part:
        (part / "config.yaml").write_text("name: made\n")
        write_model(part, save({"head": np.zeros(2)}), {"epoch": 1, "score": 0.5, "classes": ["a", "b"]})


@pytest.mark.parametrize("repeat", [False, True], ids=["of-the-search", "of-the-finals"])
def test_against_a_sound_best_there_is_nothing_to_say(run: RunFolder, repeat: bool) -> None:
    if repeat:
        point_to(run.best, run.final(2, 1).best)
    assert best_doubt(run, 2) == ""


@pytest.mark.parametrize("name", ["model.safetensors", "config.yaml", "model.json"])
def test_a_damaged_best_is_told(run: RunFolder, name: str) -> None:
    file = run.best / name
    file.write_bytes(file.read_bytes()[:-2])
    doubt = best_doubt(run, 2)
    assert "best: damaged, the model of trial 2; bring it back from a copy, or `tune-cnn train " in doubt
    assert "trials/0002/config.yaml" in doubt


def test_the_model_of_another_trial_is_told(run: RunFolder) -> None:
    shutil.rmtree(run.trial(2).path)
    point_to(run.best, run.trial(6).best)
    assert best_doubt(run, 2).startswith("the model of trial 2, the best, is gone, and ")
    assert "is that of trial 6" in best_doubt(run, 2)


def test_no_best_at_all_is_told(run: RunFolder) -> None:
    run.best.unlink()
    assert best_doubt(run, 2).startswith("the model of trial 2, the best, is gone; bring it back")
