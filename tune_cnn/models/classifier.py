"""A backbone, frozen to some depth, with a head on top. Together with `weights.py` the only door to timm."""

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from tune_cnn.errors import SpaceFileError, TrialError, WeightsError
from tune_cnn.models.catalogue import facts
from tune_cnn.models.custom import custom_network
from tune_cnn.models.cut import InexactCutError, cut_and_prove, feature_map
from tune_cnn.models.freeze import UnitLine
from tune_cnn.models.heads import build_head
from tune_cnn.models.layer_plan import ShapeError, size_after
from tune_cnn.models.network import Channels, Network
from tune_cnn.models.resident import resident
from tune_cnn.models.trunk import Trunk, frozen_units_of, trunk_of
from tune_cnn.models.units import batch_norms, units_of, weight_layers
from tune_cnn.models.weights_fit import Wanted, misfits, read_shapes
from tune_cnn.sections.image import ImageConfig
from tune_cnn.sections.layers import CustomBackbone
from tune_cnn.sections.model import ModelConfig

log = logging.getLogger(__name__)
# timm warns of every name it leaves out, classifiers included; `check_fit` says what matters, in one line.
logging.getLogger("timm.models._builder").setLevel(logging.ERROR)

# Networks from scratch get the mean and deviation of ImageNet's pixels too: about zero and one for photographs.
_CUSTOM_PREPROCESSING: tuple[Channels, Channels] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Bypass(nn.Module):
    """A backbone without units that hands on what it is given."""

    def forward(self, features: Tensor) -> Tensor:
        """Give (B, ...) as it is."""
        return features

    def forward_features(self, features: Tensor) -> Tensor:
        """Give (B, ...) as it is."""
        return features


class Classifier(Network):
    """Normalised images in, logits out: (B, 3, H, W) to (B, classes)."""

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        line: UnitLine,
        preprocessing: tuple[Channels, Channels],
        *,
        takes_map: bool = False,
    ) -> None:
        """Put the parts together, nothing frozen.

        Args:
            backbone: (B, 3, H, W) to (B, features); `forward_features` to the map before, (B, features, h, w).
            head: features or map to (B, classes).
            line: the backbone's units, as long as `units_of(backbone)`.
            preprocessing: mean and standard deviation of red, green, blue in [0, 1].
            takes_map: whether the head works on the map.
        """
        super().__init__(line, preprocessing)
        self.backbone = backbone
        self.takes_map = takes_map
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
        logits: Tensor = self.head(self.features(images))
        return logits

    def features(self, images: Tensor) -> Tensor:
        """Give what the head gets: (B, features), or the map, (B, features, h, w)."""
        features: Tensor = feature_map(self.backbone, images) if self.takes_map else self.backbone(images)
        return features

    def take_features(self, _images: Tensor) -> tuple[int, ...]:
        """Lose the backbone: the head alone is left."""
        self.backbone = Bypass()
        return (0,)

    @property
    def gives(self) -> str:
        """A map, or its mean over all pixels."""
        return "map" if self.takes_map else "pooled"

    @property
    def can_be_cut_inside(self) -> bool:
        """True: between its units one map is handed on."""
        return True

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
            live["model.head.batch_norm"] = any(isinstance(layer, nn.BatchNorm1d) for layer in self.head.modules())
        return live


def build_classifier(
    config: ModelConfig, classes: int, *, px: int = ImageConfig().px, keep: bool = False
) -> Classifier:
    """Build a classifier in training mode on the CPU, its weights loaded and its backbone frozen as the config says.

    What is not loaded is drawn from torch's global generator: seed it before.

    Args:
        config: backbone, freeze depth and head; `weights_file` is loaded if one is given.
        classes: number of logits.
        px: height and width of the images; a head on unpooled features is made for that size.
        keep: whether to keep the backbone in this process for the next call, see `tune_cnn.models.resident`.

    Raises:
        SpaceFileError: no such backbone, a freeze depth or stages beyond it, or images too small for its layers.
        WeightsError: the file cannot be read or does not fit; or weights are asked for and no file is given.
    """
    trunk = trunk_of(config)
    backbone, preprocessing = loaded_backbone(config, trunk, keep=keep)
    map_px = _map_px(config, backbone, px) if trunk.gives_map else None
    head = build_head(trunk.channels, config.head, classes, map_px=map_px)
    model = Classifier(backbone, head, trunk.line, preprocessing, takes_map=trunk.gives_map)
    try:
        model.freeze_to(frozen_units_of(config))
    except ValueError as error:
        raise SpaceFileError(f"model.freeze: {error}") from error
    return model.train()


def loaded_backbone(
    config: ModelConfig, trunk: Trunk, *, keep: bool = False
) -> tuple[nn.Module, tuple[Channels, Channels]]:
    """Make the backbone as far as the model keeps it, its weights loaded, and say how it wants its images.

    Args:
        config: names the backbone and the file of its weights.
        trunk: what is kept of it.
        keep: whether to keep it in this process for the next call, see `tune_cnn.models.resident`.

    Returns:
        The network without a classifier, its units as in the table; mean and standard deviation of its channels.

    Raises:
        SpaceFileError: a stage after which it cannot be cut, or another timm than the one the table was made with.
        WeightsError: the file cannot be read or does not fit; or weights are asked for and no file is given.
    """
    file = _weights_file(config)
    if isinstance(config.backbone, CustomBackbone):
        return custom_network(config.backbone, file), _CUSTOM_PREPROCESSING
    build = partial(_loaded, config.backbone, file, trunk)
    backbone = resident((config.backbone, _identity(file), trunk), build) if keep else build()
    return backbone, _preprocessing(backbone)


def _loaded(name: str, file: Path | None, trunk: Trunk) -> nn.Module:
    if file:
        check_fit(name, file)
    backbone = create_backbone(name, file)
    if trunk.gives_map:
        try:
            cut_and_prove(backbone, len(trunk.line), px=facts(name).least_px)
        except InexactCutError as error:
            raise SpaceFileError(f"model.stages: {name}: {error}; write stages: null") from error
    _check_line(backbone, trunk)
    return backbone


def _identity(file: Path | None) -> tuple[object, ...] | None:
    """Give what tells a file from what it was before; None without a file."""
    if file is None or not file.exists():  # loading says what is wrong with one that is not there
        return (file,) if file else None
    status = file.stat()
    return file, status.st_size, status.st_mtime_ns, status.st_ino


def _weights_file(config: ModelConfig) -> Path | None:
    if config.weights == "none":
        return None
    if config.weights_file is None:
        raise WeightsError(
            f"{config.backbone_name}: weights: {config.weights} was not resolved to a file; write weights: none"
        )
    return Path(config.weights_file)


def _map_px(config: ModelConfig, backbone: nn.Module, px: int) -> int:
    """Measure the height and width of the map after the head's convolutions."""
    try:
        if isinstance(config.backbone, CustomBackbone):
            map_px = size_after(config.backbone.layers, px)
        else:
            with torch.inference_mode():
                map_px = feature_map(backbone.eval(), torch.zeros(1, 3, px, px)).shape[-1]
        return size_after(config.head.convolutions, map_px)
    except ShapeError as error:
        raise SpaceFileError(f"model: {error} (of images of {px} px)") from error


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


@lru_cache(maxsize=32)  # building a network without memory takes as long as an epoch of a head
def wanted(backbone: str) -> Wanted:
    """Give the names and shapes a file for this backbone must hold, and the names it may hold besides."""
    with torch.device("meta"):
        bare, whole = create_backbone(backbone), _create(backbone, None)
    needed = {name: tuple(tensor.shape) for name, tensor in bare.state_dict().items()}
    return Wanted(needed, frozenset(whole.state_dict()) - frozenset(needed))


def _fits_converted(backbone: str, file: Path) -> bool:
    """Ask timm, which knows older names of some networks' tensors."""
    return whole_network(backbone, file) is not None


def whole_network(backbone: str, file: Path) -> nn.Module | None:
    """Make timm's network with its own classifier and a file's weights; None if loading does not reach every weight.

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
            return None
    pairs = zip(drawn.parameters(), loaded.parameters(), strict=True)
    return loaded if all(not torch.equal(one, other) for one, other in pairs if one.ndim > 1) else None


def _check_line(backbone: nn.Module, trunk: Trunk) -> None:
    live = tuple(weight_layers(module) for _, module in units_of(backbone))
    if live != trunk.line.weight_layers:
        raise SpaceFileError(
            f"{trunk.name}: timm {timm.__version__} builds it with {len(live)} units, but the table of backbones says "
            f"{len(trunk.line)} or other ones; install the pinned timm, or run `make backbones`"
        )


def _preprocessing(backbone: nn.Module) -> tuple[Channels, Channels]:
    settings: dict[str, Any] = backbone.pretrained_cfg  # type: ignore[assignment]
    return _channels(settings["mean"]), _channels(settings["std"])


def _channels(values: Sequence[float]) -> Channels:
    red, green, blue = map(float, values)
    return red, green, blue
