from pathlib import Path

import pytest

from tune_cnn.errors import RunFolderError
from tune_cnn.files import point_to
from tune_cnn.models.card import read_whole
from tune_cnn.models.saved import load_model


def model(folder: Path, text: str) -> Path:
    folder.mkdir()
    for name in ("card", "weights"):
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("deleted", [True, False], ids=["old-one-deleted", "old-one-still-there"])
def test_a_link_that_moves_while_it_is_read_gives_one_model_in_whole(tmp_path: Path, deleted: bool) -> None:
    best, old, new = tmp_path / "best", model(tmp_path / "old", "old"), model(tmp_path / "new", "new")
    point_to(best, old)

    def read(folder: Path) -> tuple[str, str]:
        card = (folder / "card").read_text()
        if folder == old:  # between the two files a better model takes its place
            point_to(best, new)
            if deleted:
                (old / "weights").unlink()
        return card, (folder / "weights").read_text()

    assert read_whole(best, read) == (("new", "new") if deleted else ("old", "old"))


def test_what_is_damaged_for_good_is_an_error_after_one_look(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="give a model folder"):
        load_model(tmp_path)
