"""The best model from files: an older whole one, and what had moved at the best epoch."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save

from tune_cnn.results.best_model import (
    bring_up_to_date,
    has_sound_best,
    read_own,
    state_text,
    tensors_name,
    write_model,
)
from tune_cnn.results.records import TrialFolder
from tune_cnn.results.trial_files import new_best

CARD = {"epoch": 1, "score": 0.25, "classes": ["a", "b"], "task": "classification"}


@pytest.fixture
def folder(tmp_path: Path) -> TrialFolder:
    """A trial whose model is that of epoch 1, and whose checkpoint, of epoch 3, tells that epoch 2 was the best."""
    folder = TrialFolder(tmp_path)
    with new_best(folder, 1) as part:
        (part / "config.yaml").write_text("name: made\n")
        write_model(part, save({"still": np.full(3, 7.0), "head": np.zeros(2)}), CARD)
    tell_of(folder, 2)
    return folder


def tell_of(folder: TrialFolder, epoch: int | None, *, place: str = "", score: float = 0.5) -> None:
    last = folder.last / place
    last.mkdir(parents=True, exist_ok=True)
    data = save({"model/head": np.full(2, float(epoch or 0)), "optimizer/0/exp_avg": np.ones(2)})
    name = tensors_name(epoch or 0, data)
    (last / name).write_bytes(data)
    told = {"epoch": epoch, "score": score, "val_confusion": [[2, 1], [0, 3]], "tensors": name}
    (last / "state.json").write_text(state_text({"best": told if epoch else None}))


@pytest.mark.parametrize("place", ["", "fold-1"])
def test_what_moved_replaces_the_older_and_what_stood_still_stays(tmp_path: Path, place: str) -> None:
    folder = TrialFolder(tmp_path)
    with new_best(folder, 1) as part:
        (part / "config.yaml").write_text("name: made\n")
        write_model(part, save({"still": np.full(3, 7.0), "head": np.zeros(2)}), CARD)
    tell_of(folder, 2, place=place)
    bring_up_to_date(folder)
    tensors = load_file(folder.best / "model.safetensors")
    assert {name: tensor.tolist() for name, tensor in tensors.items()} == {"still": [7.0] * 3, "head": [2.0] * 2}
    card = json.loads((folder.best / "model.json").read_text())
    assert (card["epoch"], card["score"], card["classes"]) == (2, 0.5, ["a", "b"])
    assert has_sound_best(folder)
    assert pd.read_csv(folder.best / "val_confusion.csv")["1: b"].tolist() == [1, 3]
    assert (folder.best / "config.yaml").read_text() == "name: made\n"
    assert len(list(tmp_path.glob(".best-*"))) == 1


def test_a_model_that_is_the_best_epochs_stays_as_it_is(folder: TrialFolder) -> None:
    bring_up_to_date(folder)
    there = folder.best.resolve()
    bring_up_to_date(folder)
    assert folder.best.resolve() == there
    tell_of(folder, 2, score=0.6)  # the same epoch once more after a kill, on a device that never sums up alike
    bring_up_to_date(folder)
    assert json.loads((folder.best / "model.json").read_text())["score"] == 0.6


@pytest.mark.parametrize("missing", ["checkpoint", "best-epoch", "model"])
def test_where_something_is_missing_nothing_happens(folder: TrialFolder, missing: str) -> None:
    match missing:
        case "checkpoint":
            (folder.last / "state.json").unlink()
        case "best-epoch":
            tell_of(folder, None)
        case _:
            folder.best.unlink()
    before = sorted(folder.path.rglob("*"))
    bring_up_to_date(folder)
    assert sorted(folder.path.rglob("*")) == before


@pytest.mark.parametrize("damage", ["weights", "state", "state-number", "tensors", "no-tensors"])
def test_of_damaged_files_no_model_is_made(folder: TrialFolder, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    tensors = next(folder.last.glob("*.safetensors"))
    state = folder.last / "state.json"
    file = {"weights": folder.best / "model.safetensors", "state": state, "state-number": state}.get(damage, tensors)
    if damage == "no-tensors":
        file.unlink()
    elif damage == "state-number":
        file.write_text(file.read_text().replace('"score": 0.5', '"score": 0.7'))
    else:
        file.write_bytes(file.read_bytes()[:-1])
    before = (folder.best / "model.json").read_bytes()
    bring_up_to_date(folder)
    assert (folder.best / "model.json").read_bytes() == before
    assert "stays at an earlier epoch" in caplog.text
    assert has_sound_best(folder) == (damage != "weights")


@pytest.mark.parametrize("confusion", [[], [[1, 2]], [[1, 2], [3]], [[1, 2, 3]] * 3, [["x", 1], [2, 3]], None, {}])
def test_a_strangers_confusion_of_other_classes_makes_no_model(
    folder: TrialFolder, confusion: object, caplog: pytest.LogCaptureFixture
) -> None:
    state = folder.last / "state.json"
    body = read_own(state)
    state.write_text(state_text({"best": {**body["best"], "val_confusion": confusion}}))
    bring_up_to_date(folder)
    assert json.loads((folder.best / "model.json").read_text())["epoch"] == 1
    assert "stays at an earlier epoch" in caplog.text


def test_a_stranger_names_no_file_outside_the_checkpoint(
    folder: TrialFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = folder.last / "state.json"
    body = read_own(state)
    inside = folder.last / body["best"]["tensors"]
    outside = inside.rename(tmp_path / inside.name)
    for name in (str(outside), f"../{outside.name}", "", ".", "/etc/hostname"):
        caplog.clear()
        state.write_text(state_text({"best": {**body["best"], "tensors": name}}))
        bring_up_to_date(folder)
        assert json.loads((folder.best / "model.json").read_text())["epoch"] == 1
        assert "stays at an earlier epoch" in caplog.text
