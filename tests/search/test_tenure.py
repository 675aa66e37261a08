from pathlib import Path

from tune_cnn.results.records import TrialFolder
from tune_cnn.search.tenure import Tenure


def test_a_folder_belongs_to_the_worker_that_took_it_last(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path / "0007")
    given_up = Tenure(folder)
    assert given_up.lasts
    successor = Tenure(folder)
    assert not given_up.lasts
    given_up.end()
    assert successor.lasts
    successor.end()
    assert not list(folder.path.iterdir())


def test_where_it_cannot_be_found_out_nobody_is_taken_for_replaced(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path / "0007")
    tenure = Tenure(folder)
    folder.worker.unlink()
    folder.worker.mkdir()
    assert tenure.lasts
