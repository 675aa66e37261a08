"""A trained model as a folder: model.safetensors, model.json (all that is needed to use it), config.yaml."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, PositiveFloat, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from tune_cnn.config import Task, TrialConfig
from tune_cnn.errors import InputError, RunFolderError
from tune_cnn.models.build import build_network
from tune_cnn.models.network import Network
from tune_cnn.results.best_model import (
    CARD,
    CONFIG,
    WEIGHTS,
    DamagedModelError,
    read_own,
    read_sealed,
    write_model,
)
from tune_cnn.sections.base import ListOf, Section
from tune_cnn.sections.image import ImageConfig
from tune_cnn.sections.model import ModelConfig
from tune_cnn.sections.search import Metric
from tune_cnn.yaml_files import load_model as load_config
from tune_cnn.yaml_files import write_yaml

Content = TypeVar("Content")
Channels = Annotated[ListOf[float], Field(min_length=3, max_length=3)]
_MOST_TOLD = 3  # tensors that do not fit


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


def save_model(
    folder: Path,
    model: Network,
    config: TrialConfig,
    *,
    classes: tuple[str, ...],
    metric: Metric,
    score: float,
    epoch: int,
) -> None:
    """Write a model into a folder that nobody reads yet (see `tune_cnn.files.new_folder`)."""
    mean, std = model.preprocessing
    card = ModelCard(
        task=config.task,
        model=config.model.model_copy(update={"weights_file": None}),
        image=config.image,
        classes=classes,
        mean=mean,
        std=std,
        metric=metric,
        score=score,
        epoch=epoch,
        seed=config.seed,
        sha256="",
        config_sha256="",
    )
    write_yaml(folder / CONFIG, config.model_dump(mode="json"), durable=False)
    write_model(folder, save(cpu_copy(model)), card.model_dump(mode="json"))


def read_whole(folder: Path, read: Callable[[Path], Content]) -> Content:
    """Read from a folder that may be a link, such as `best` in a search that runs.

    The link is followed once, so that all files are of one model. If that was replaced meanwhile, and deleted, the one
    that took its place is read.

    Args:
        folder: a model folder or a link to one.
        read: given the folder itself; may raise InputError or OSError if a file is missing.
    """
    whole = _real(folder)
    try:
        return read(whole)
    except (InputError, OSError):
        if (now := _real(folder)) == whole:
            raise
        return read(now)


def _real(folder: Path) -> Path:
    return Path(os.path.realpath(folder))  # Path.resolve would raise where links lead round in a circle


def load_model(folder: Path) -> tuple[Network, ModelCard]:
    """Read a model back, in eval mode on the CPU.

    Raises:
        RunFolderError: the folder is not one that `save_model` wrote, or it is damaged.
    """
    return read_whole(folder, _load_model)


def _load_model(folder: Path) -> tuple[Network, ModelCard]:
    card = _read_card(folder / CARD)
    file = folder / WEIGHTS
    if not file.is_file():
        raise RunFolderError(f"{file}: no such file; a model folder holds model.safetensors beside model.json")
    data = _sealed(folder, card, WEIGHTS)
    model = _build(card, folder / CARD)
    try:
        weights = load(data)
    except SafetensorError as error:
        raise RunFolderError(f"{file}: does not hold the network that {CARD} describes: {error}") from error
    if misfits := [*_misfits(weights, model.state_dict())]:
        more = f"; and {len(misfits) - _MOST_TOLD} more" if len(misfits) > _MOST_TOLD else ""
        told = "; ".join(misfits[:_MOST_TOLD])
        raise RunFolderError(f"{file}: does not hold the network that {CARD} describes: {told}{more}")
    model.load_state_dict(weights)
    return model.eval(), card


def load_model_config(folder: Path, card: ModelCard) -> TrialConfig:
    """Read the config that a model was trained by.

    Raises:
        RunFolderError: it is missing, or not the one that was written beside the model.
    """
    if not (folder / CONFIG).is_file():
        raise RunFolderError(f"{folder / CONFIG}: no such file; a model folder holds config.yaml beside model.json")
    _sealed(folder, card, CONFIG)
    return load_config(folder / CONFIG, TrialConfig)


def _sealed(folder: Path, card: ModelCard, name: str) -> bytes:
    try:
        return read_sealed(folder, vars(card), name)
    except DamagedModelError as error:
        raise RunFolderError(f"{folder / name}: {error}") from error


def _build(card: ModelCard, file: Path) -> Network:
    """Build the network that a card describes; its weights are not yet those of the model."""
    bare = card.model.model_copy(update={"weights": "none"})
    try:
        return build_network(bare, len(card.classes), px=card.image.px)
    except InputError as error:
        raise RunFolderError(f"{file}: {fault}" for fault in error.faults) from error
    except RuntimeError as error:  # more than memory holds
        first = str(error).splitlines()[0]
        raise RunFolderError(f"{file}: the network that it describes cannot be built: {first}") from error


def _misfits(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Iterator[str]:
    """Name the tensors that are missing, of another shape, or too many."""
    for name, tensor in wanted.items():
        if name not in found:
            yield f"{name} is missing"
        elif found[name].shape != tensor.shape:
            yield f"{name} is {tuple(found[name].shape)}, not {tuple(tensor.shape)}"
    for name in found:
        if name not in wanted:
            yield f"{name} is not part of it"


def cpu_copy(module: nn.Module) -> dict[str, Tensor]:
    """Copy a module's state to the CPU, safe from further training."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in module.state_dict().items()}


def _read_card(file: Path) -> ModelCard:
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


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        return f"{where}: {fault['msg']}" if where else str(fault["msg"])
    return str(error)
