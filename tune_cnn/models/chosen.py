"""Which model is meant by a folder, and whether it can be used: told before torch, which takes seconds to import."""

from dataclasses import dataclass
from pathlib import Path

from tune_cnn.data.index import check_root
from tune_cnn.errors import RunFolderError
from tune_cnn.models.card import load_model_config, needed, read_card, read_whole
from tune_cnn.results.best_model import CARD, WEIGHTS
from tune_cnn.results.records import RunFolder, TrialFolder
from tune_cnn.urls import is_url


@dataclass(frozen=True)
class ChosenModel:
    """A model folder, and how it was come by."""

    folder: Path
    told: str = ""
    """Whose model was taken, in a line; empty if the folder was given as it is."""


def chosen_model(given: Path) -> ChosenModel:
    """Give the model that is meant by a folder: of a run its best, of a trial its best epoch's.

    Raises:
        RunFolderError: a run or a trial has no model.
    """
    best = given / RunFolder(given).best.name
    if (given / CARD).is_file():
        return ChosenModel(given)
    if (best / CARD).is_file():
        return ChosenModel(best, f"{given}: {_whose(given, best)}")
    if RunFolder(given).study.is_file() or TrialFolder(given).log.is_file():
        what = "no trial has a model yet" if RunFolder(given).study.is_file() else "its model is gone, or not made yet"
        raise RunFolderError(f"{given}: {what}; give the model folder of another trial, such as runs/NAME/best")
    return ChosenModel(given)  # who reads it says what is missing


def check_usable(folder: Path) -> None:
    """Make sure that a model folder is one, as far as can be told without its network.

    Raises:
        RunFolderError: it is not, or a file is damaged.
    """

    def look(whole: Path) -> None:
        read_card(whole)
        needed(whole, WEIGHTS)

    read_whole(folder, look)


def check_scorable(folder: Path, data_root: str | None) -> None:
    """Make sure that a model can be scored: that it is one, and that its images, or those below `data_root`, are there.

    Raises:
        RunFolderError: as `check_usable`, or its config is missing or damaged.
        DataError: there is no folder with images.
    """
    check_usable(folder)
    config = read_whole(folder, lambda whole: load_model_config(whole, read_card(whole)))
    if not is_url(root := data_root or config.data.root):
        check_root(Path(root))


def _whose(given: Path, best: Path) -> str:
    """Say whose model `best` is."""
    if TrialFolder(given).log.is_file():
        return f"its best model, of epoch {read_card(best).epoch}"
    trial, _, repeat = best.resolve().parent.name.partition("-")
    if not (best.is_symlink() and trial.isdecimal()):
        return "its best model"
    return f"its best model, of trial {int(trial)}" + (f", repeat {repeat} of the finals" if repeat else "")
