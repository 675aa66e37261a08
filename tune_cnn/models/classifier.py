"""A backbone, frozen to some depth, with a head on top. Together with `weights.py` the only door to timm."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from tune_cnn.errors import SpaceFileError, TrialError, WeightsError
from tune_cnn.models.catalogue import BackboneFacts, facts
from tune_cnn.models.freeze import UnitLine, frozen_units
from tune_cnn.models.heads import build_head
from tune_cnn.models.network import Channels, Network
from tune_cnn.models.units import batch_norms, units_of, weight_layers
from tune_cnn.models.weights_fit import Wanted, misfits, read_shapes
from tune_cnn.sections.model import ModelConfig

log = logging.getLogger(__name__)
# timm warns of every name it leaves out, classifiers included; `check_fit` says what matters, in one line.
logging.getLogger("timm.models._builder").setLevel(logging.ERROR)


class Classifier(Network):
    """Normalised images in, logits out: (B, 3, H, W) to (B, classes)."""

    def __init__(
        self, backbone: nn.Module, head: nn.Module, line: UnitLine, preprocessing: tuple[Channels, Channels]
    ) -> None:
        """Put the parts together, nothing frozen.

        Args:
            backbone: (B, 3, H, W) to (B, features).
            head: (B, features) to (B, classes).
            line: the backbone's units, as long as `units_of(backbone)`.
            preprocessing: mean and standard deviation of red, green, blue in [0, 1].
        """
        super().__init__(line, preprocessing)
        self.backbone = backbone
        self.head = head

    @property
    def trunk(self) -> nn.Module:
        """The backbone."""
        return self.backbone

    def forward(self, images: Tensor) -> Tensor:
        """Give the logits.

        Args:
            images: (B, 3, H, W), normalised by `preprocessing`.

        Returns:
            (B, classes).

        Raises:
            TrialError: one single image to train on, and a BatchNorm in the head, which would need two.
        """
        if self.training and len(images) < self.least_batch:
            raise TrialError(
                f"a batch of {len(images)} image(s) cannot train a head with batch_norm, which compares images; "
                f"write training.batch_size: {self.least_batch} or more, or model.head.batch_norm: false"
            )
        logits: Tensor = self.head(self.backbone(images))
        return logits

    @property
    def least_batch(self) -> int:
        """The fewest images that a training step can take: 2 with a BatchNorm in the head, else 1."""
        return 2 if batch_norms(self.head) else 1

    def dropout(self) -> tuple[float, ...]:
        """Read the rates of the head's dropout layers from the live modules, in order."""
        return tuple(layer.p for layer in self.head.modules() if isinstance(layer, nn.Dropout))

    def head_widths(self) -> tuple[int, ...]:
        """Read the widths of the head's dense layers from the live modules; the last is the number of classes."""
        return tuple(layer.out_features for layer in self.head.modules() if isinstance(layer, nn.Linear))

    def live_settings(self) -> Mapping[str, Any]:
        """Read the head back: its widths, its dropout, whether it has BatchNorm."""
        *hidden, _classes = self.head_widths()
        shares = sorted(set(self.dropout()))
        live: dict[str, Any] = {
            "model.head.hidden": hidden,
            "model.head.dropout": shares[0] if len(shares) == 1 else shares or 0.0,
        }
        if hidden:  # without hidden layers there is nothing a batch norm could follow
            live["model.head.batch_norm"] = bool(batch_norms(self.head))
        return live


def build_classifier(config: ModelConfig, classes: int) -> Classifier:
    """Build a classifier in training mode on the CPU, its weights loaded and its backbone frozen as the config says.

    What is not loaded is drawn from torch's global generator: seed it before.

    Args:
        config: backbone, freeze depth and head; `weights_file` is loaded if one is given.
        classes: number of logits.

    Raises:
        SpaceFileError: no such backbone, or a freeze depth beyond it.
        WeightsError: the file cannot be read or does not fit; or weights are asked for and no file is given.
    """
    known = facts(config.backbone)
    backbone = loaded_backbone(config)
    model = Classifier(backbone, build_head(known.features, config.head, classes), known.line, preprocessing(backbone))
    try:
        model.freeze_to(frozen_units(config.freeze, known.line, known.name))
    except ValueError as error:
        raise SpaceFileError(f"model.freeze: {error}") from error
    return model.train()


def loaded_backbone(config: ModelConfig) -> nn.Module:
    """Make the backbone that a config names, without a classifier, its weights loaded and its units as in the table.

    Raises:
        SpaceFileError: no such backbone, or another timm than the one the table was made with.
        WeightsError: the file cannot be read or does not fit; or weights are asked for and no file is given.
    """
    known = facts(config.backbone)
    if config.weights != "none" and config.weights_file is None:
        raise WeightsError(f"{known.name}: weights: {config.weights} was not resolved to a file; write weights: none")
    file = Path(config.weights_file) if config.weights_file and config.weights != "none" else None
    if file:
        check_fit(known.name, file)
    backbone = create_backbone(known.name, file)
    _check_line(backbone, known)
    return backbone


def create_backbone(name: str, file: Path | None = None) -> nn.Module:
    """Make timm's network without a classifier, with the weights of a safetensors file or with random ones.

    Args:
        name: a timm name.
        file: loaded by timm, which converts names and types; half precision becomes float32. Must end in .safetensors.
    """
    return _create(name, file, num_classes=0)


def _create(name: str, file: Path | None, **arguments: Any) -> nn.Module:
    if file and file.suffix != ".safetensors":
        raise WeightsError(f"{file}: not a .safetensors file")  # timm would unpickle it
    # custom_load would read the file as the original authors' format.
    overlay = {"file": str(file), "custom_load": False} if file else None
    network: nn.Module = timm.create_model(
        name, pretrained=file is not None, pretrained_cfg_overlay=overlay, **arguments
    )
    return network


def check_fit(backbone: str, file: Path) -> None:
    """Make sure that a safetensors file holds the weights of a backbone, with any classifier or none.

    Raises:
        WeightsError: it is not there, no safetensors, or another network's; with a few names that differ.
    """
    faults = misfits(read_shapes(file), wanted(backbone))
    if faults and not _fits_converted(backbone, file):
        raise WeightsError(f"{file}: does not hold the weights of {backbone}: {'; '.join(faults)}")


def wanted(backbone: str) -> Wanted:
    """Give the names and shapes a file for this backbone must hold, and the names it may hold besides."""
    with torch.device("meta"):
        bare, whole = create_backbone(backbone), _create(backbone, None)
    needed = {name: tuple(tensor.shape) for name, tensor in bare.state_dict().items()}
    return Wanted(needed, frozenset(whole.state_dict()) - frozenset(needed))


def _fits_converted(backbone: str, file: Path) -> bool:
    """Ask timm, which knows older names of some networks' tensors, and see whether loading reaches every weight.

    With its classifier a network is loaded strictly, so that a larger network's file is refused. Some networks timm
    never loads strictly; so hold the result against one that loaded nothing.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn = _create(backbone, None)
        torch.manual_seed(0)
        try:
            loaded = _create(backbone, file)
        except (RuntimeError, KeyError) as error:  # shapes that differ; names its conversion relies on
            log.info("%s: timm cannot load it as %s: %s", file, backbone, error)
            return False
    pairs = zip(drawn.parameters(), loaded.parameters(), strict=True)
    return all(not torch.equal(one, other) for one, other in pairs if one.ndim > 1)


def _check_line(backbone: nn.Module, known: BackboneFacts) -> None:
    live = tuple(weight_layers(module) for _, module in units_of(backbone))
    if live != known.line.weight_layers:
        raise SpaceFileError(
            f"{known.name}: timm {timm.__version__} builds it with {len(live)} units, but the table of backbones says "
            f"{len(known.line)} or other ones; install the pinned timm, or run `make backbones`"
        )


def preprocessing(backbone: nn.Module) -> tuple[Channels, Channels]:
    """Give the mean and standard deviation, in [0, 1], that a network of timm wants its channels to have had."""
    settings: dict[str, Any] = backbone.pretrained_cfg  # type: ignore[assignment]
    return _channels(settings["mean"]), _channels(settings["std"])


def _channels(values: Sequence[float]) -> Channels:
    red, green, blue = map(float, values)
    return red, green, blue
