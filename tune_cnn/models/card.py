"""What a model folder says of its model, read without torch: what is wrong with it is told at once."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, PositiveFloat, ValidationError, model_validator

from tune_cnn.config import Task, TrialConfig
from tune_cnn.errors import InputError, RunFolderError
from tune_cnn.results.best_model import CARD, CONFIG, DamagedModelError, read_own, read_sealed
from tune_cnn.sections.base import ListOf, Section
from tune_cnn.sections.image import ImageConfig
from tune_cnn.sections.model import ModelConfig
from tune_cnn.sections.search import Metric
from tune_cnn.yaml_files import load_model as load_config

Content = TypeVar("Content")
Channels = Annotated[ListOf[float], Field(min_length=3, max_length=3)]


class ModelCard(Section):
    """What model.json says: enough to rebuild the network, feed it and name what it answers."""

    format: Literal[1] = 1
    task: Task
    model: ModelConfig
    image: ImageConfig
    classes: Annotated[ListOf[str], Field(min_length=1)]
    mean: Channels
    """Of the pixels in [0, 1], subtracted from each channel (red, green, blue)."""
    std: Annotated[ListOf[PositiveFloat], Field(min_length=3, max_length=3)]
    metric: Metric
    score: float
    epoch: int
    seed: int
    sha256: str
    """Of model.safetensors."""
    config_sha256: str
    """Of config.yaml."""

    @model_validator(mode="after")
    def _check_task(self) -> Self:
        if (self.task == "segmentation") != (self.model.decoder is not None):
            raise ValueError(f"model.decoder {self.model.decoder} does not fit the task {self.task}")
        return self


def read_card(folder: Path) -> ModelCard:
    """Read what a model folder says of its model.

    Raises:
        RunFolderError: the folder holds no model, or the file is damaged.
    """
    file = folder / CARD
    if not file.is_file():
        raise RunFolderError(f"{file}: no such file; give a model folder such as runs/NAME/best")
    try:
        return ModelCard.model_validate(read_own(file))
    except DamagedModelError as error:
        raise RunFolderError(
            f"{file}: damaged, or changed by hand ({error}); bring the folder back from a copy"
        ) from error
    except (ValidationError, ValueError) as error:
        raise RunFolderError(f"{file}: not a model description of tune-cnn: {_first_line(error)}") from error


def load_model_config(folder: Path, card: ModelCard) -> TrialConfig:
    """Read the config that a model was trained by.

    Raises:
        RunFolderError: it is missing, or not the one that was written beside the model.
    """
    sealed(folder, card, CONFIG)
    return load_config(folder / CONFIG, TrialConfig)


def needed(folder: Path, name: str) -> Path:
    """Give a file of a model folder.

    Raises:
        RunFolderError: it is not there.
    """
    file = folder / name
    if not file.is_file():
        raise RunFolderError(f"{file}: no such file; a model folder holds {name} beside {CARD}")
    return file


def sealed(folder: Path, card: ModelCard, name: str) -> bytes:
    """Read a file of a model folder, whose digest the card holds.

    Raises:
        RunFolderError: it is missing, or not as it was written.
    """
    needed(folder, name)
    try:
        return read_sealed(folder, vars(card), name)
    except DamagedModelError as error:
        raise RunFolderError(f"{folder / name}: {error}") from error


def read_whole(folder: Path, read: Callable[[Path], Content]) -> Content:
    """Read from a folder that may be a link, such as `best` in a search that runs.

    The link is followed once, so that all files are of one model. If that was replaced meanwhile, and deleted, the one
    that took its place is read.

    Args:
        folder: a model folder or a link to one.
        read: given the folder itself; may raise InputError or OSError if a file is missing.

    Raises:
        InputError: `read` did, with names as the user knows them: those of folders behind a link are ours alone.
    """
    whole = _real(folder)
    try:
        return _read_named(whole, folder, read)
    except (InputError, OSError):
        if (now := _real(folder)) == whole:
            raise
        return _read_named(now, folder, read)


def _read_named(whole: Path, given: Path, read: Callable[[Path], Content]) -> Content:
    try:
        return read(whole)
    except InputError as error:
        raise error.naming(str(given), instead_of=str(whole)) from error


def _real(folder: Path) -> Path:
    return Path(os.path.realpath(folder))  # Path.resolve would raise where links lead round in a circle


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        return f"{where}: {fault['msg']}" if where else str(fault["msg"])
    return str(error)
