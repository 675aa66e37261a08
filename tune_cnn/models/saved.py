"""A trained model as a folder: model.safetensors, model.json (all that is needed to use it), config.yaml."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from tune_cnn.config import TrialConfig
from tune_cnn.errors import InputError, RunFolderError
from tune_cnn.models.build import build_network
from tune_cnn.models.card import ModelCard, needed, read_card, read_whole, sealed
from tune_cnn.models.network import Network
from tune_cnn.results.best_model import CARD, CONFIG, WEIGHTS, write_model
from tune_cnn.sections.search import Metric
from tune_cnn.yaml_files import write_yaml

_MOST_TOLD = 3  # tensors that do not fit


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


def load_model(folder: Path) -> tuple[Network, ModelCard]:
    """Read a model back, in eval mode on the CPU.

    Raises:
        RunFolderError: the folder is not one that `save_model` wrote, or it is damaged.
    """
    return read_whole(folder, _load_model)


def _load_model(folder: Path) -> tuple[Network, ModelCard]:
    card = read_card(folder)
    file = needed(folder, WEIGHTS)
    data = sealed(folder, card, WEIGHTS)
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
