from pathlib import Path

import pytest

from tune_cnn.results.records import TrialFolder
from tune_cnn.results.trial_files import delete_weights, new_best, tidy


def keep(folder: TrialFolder, text: str, epoch: int = 1) -> None:
    with new_best(folder, epoch) as part:
        (part / "model.json").write_text(text)


def test_best_names_the_newest_model_and_the_one_before_is_gone(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path)
    for text in ("first", "second"):
        keep(folder, text)  # the same epoch twice, as after a kill
        assert (folder.best / "model.json").read_text() == text
    assert len(list(tmp_path.glob(".best-*"))) == 1


def test_a_write_that_fails_leaves_the_model_before(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path)
    keep(folder, "first")
    with pytest.raises(UnicodeEncodeError):
        keep(folder, "\ud800")
    assert (folder.best / "model.json").read_text() == "first"
    assert len(list(tmp_path.iterdir())) == 2


def test_what_a_kill_left_is_deleted_and_nothing_else(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path)
    keep(folder, "whole")
    folder.last.mkdir()
    (folder.last / "state.json").write_text("{}")
    whole = sorted(tmp_path.rglob("*"))
    (tmp_path / ".best-00003-0123abcd").mkdir()
    (tmp_path / "..best-00004-0123abcd.xy.part").mkdir()
    (tmp_path / ".best.17.part").symlink_to("nowhere")
    (folder.last / ".state.json.xy.part").write_text("{")
    tidy(folder)
    assert sorted(tmp_path.rglob("*")) == whole


def test_deleting_weights_spares_the_rest(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path)
    keep(folder, "whole")
    folder.config.write_text("a: 1")
    delete_weights(folder)
    assert list(tmp_path.iterdir()) == [folder.config]


def test_a_folder_that_is_not_there_is_tidy(tmp_path: Path) -> None:
    tidy(TrialFolder(tmp_path / "nowhere"))
    delete_weights(TrialFolder(tmp_path / "nowhere"))


def test_what_a_kill_left_in_a_folds_checkpoint_is_deleted(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path)
    (folder.last / "fold-2").mkdir(parents=True)
    (folder.last / "fold-2" / ".state.json.xy.part").write_text("{")
    (folder.last / "fold-2" / "state.json").write_text("{}")
    tidy(folder)
    assert [file.name for file in (folder.last / "fold-2").iterdir()] == ["state.json"]
