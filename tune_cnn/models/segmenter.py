"""A backbone as encoder, frozen to some depth, with a decoder that makes a mask of it. The only door to smp."""

from collections.abc import Mapping
from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from tune_cnn.errors import SpaceFileError, TrialError
from tune_cnn.models.catalogue import facts
from tune_cnn.models.classifier import loaded_backbone
from tune_cnn.models.freeze import UnitLine
from tune_cnn.models.network import Channels, Inputs, Network, images_in
from tune_cnn.models.trunk import frozen_units_of, trunk_of
from tune_cnn.models.units import units_of, weight_layers
from tune_cnn.sections.model import Decoder, ModelConfig

_DECODERS: Mapping[Decoder, Any] = {
    "unet": smp.Unet,
    "unetplusplus": smp.UnetPlusPlus,
    "fpn": smp.FPN,
    "deeplabv3": smp.DeepLabV3,
    "deeplabv3plus": smp.DeepLabV3Plus,
    "manet": smp.MAnet,
    "linknet": smp.Linknet,
    "pan": smp.PAN,
    "pspnet": smp.PSPNet,
    "upernet": smp.UPerNet,
}
# smp's own rates differ from decoder to decoder; here the only dropout is the one that the config names.
_NO_DROPOUT: Mapping[Decoder, Mapping[str, float]] = {
    "fpn": {"decoder_dropout": 0.0},
    "deeplabv3": {"decoder_aspp_dropout": 0.0},
    "deeplabv3plus": {"decoder_aspp_dropout": 0.0},
    "pspnet": {"psp_dropout": 0.0},
}
# These pool whole feature maps to single pixels, whose BatchNorm cannot use one image alone.
_NEEDS_TWO_IMAGES = frozenset(("deeplabv3", "deeplabv3plus", "pan", "upernet"))
_LIVE_NAMES: Mapping[str, Decoder] = {
    "UnetDecoder": "unet",
    "UnetPlusPlusDecoder": "unetplusplus",
    "FPNDecoder": "fpn",
    "DeepLabV3Decoder": "deeplabv3",
    "DeepLabV3PlusDecoder": "deeplabv3plus",
    "MAnetDecoder": "manet",
    "LinknetDecoder": "linknet",
    "PANDecoder": "pan",
    "PSPDecoder": "pspnet",
    "UPerNetDecoder": "upernet",
}


class Recall(nn.Module):
    """In the place of an encoder: takes the maps that are needed and gives all, blank ones for those that are not."""

    def __init__(self, needed: tuple[int, ...], shapes: list[tuple[int, ...]]) -> None:
        super().__init__()
        self.needed = needed
        self.shapes = shapes
        self.model = nn.Sequential()  # the trunk, which has no units

    def forward(self, inputs: Inputs) -> list[Tensor]:
        """Give all maps of the encoder, (B, C, h, w) each."""
        known = inputs if isinstance(inputs, tuple) else (inputs,)
        maps = [known[0].new_zeros(()).expand(images_in(inputs), *shape) for shape in self.shapes]
        for place, one in zip(self.needed, known, strict=True):
            maps[place] = one
        return maps


class Segmenter(Network):
    """Normalised images in, logits per pixel out: (B, 3, H, W) to (B, classes, H, W); H and W multiples of 32."""

    def __init__(
        self,
        network: nn.Module,
        decoder: Decoder,
        dropout: float,
        line: UnitLine,
        preprocessing: tuple[Channels, Channels],
    ) -> None:
        """Take a network of smp apart, nothing frozen.

        Args:
            network: with `encoder`, `decoder` and `segmentation_head`.
            decoder: which of the decoders it has.
            dropout: the share of the decoder's channels left out in training.
            line: the encoder's units.
            preprocessing: mean and standard deviation of red, green, blue in [0, 1].
        """
        super().__init__(line, preprocessing)
        self.encoder: nn.Module = network.get_submodule("encoder")
        self.decoder: nn.Module = network.get_submodule("decoder")
        self.channel_dropout = nn.Dropout2d(dropout)
        self.segmentation_head: nn.Module = network.get_submodule("segmentation_head")
        self._kind: Decoder = decoder

    @property
    def trunk(self) -> nn.Module:
        """The encoder without smp's wrapper."""
        return self.encoder.get_submodule("model")

    def forward(self, images: Inputs) -> Tensor:
        """Give the logits.

        Args:
            images: (B, 3, H, W), normalised by `preprocessing`; of a tail the maps that the decoder needs.

        Returns:
            (B, classes, H, W).

        Raises:
            TrialError: one single image to train on, where the decoder needs two.
        """
        if self.training and (batch := images_in(images)) < self.least_batch:
            raise TrialError(
                f"a batch of {batch} image(s) cannot train the decoder {self._kind}, whose BatchNorm compares "
                f"images; write training.batch_size: {self.least_batch} or more, or another decoder such as unet"
            )
        return self._mask(self.encoder(images))

    def _mask(self, maps: list[Tensor]) -> Tensor:
        logits: Tensor = self.segmentation_head(self.channel_dropout(self.decoder(maps)))
        return logits

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """Give the encoder's maps, of falling resolution, the images themselves first."""
        return tuple(self.encoder(images))

    @torch.inference_mode()
    def take_features(self, images: Tensor) -> tuple[int, ...]:
        """Lose the encoder: take the maps that the decoder looks into, and of the others only know the shape."""
        self.eval()
        maps = self.features(images)
        expected = self._mask(list(maps))
        needed = tuple(place for place in range(len(maps)) if not torch.equal(self._blind_to(place, maps), expected))
        self.encoder = Recall(needed, [tuple(one.shape[1:]) for one in maps])
        return needed

    def _blind_to(self, place: int, maps: tuple[Tensor, ...]) -> Tensor:
        """Give the logits with one of the maps unknown: NaN spreads to whatever is made of it."""
        return self._mask(
            [one.new_full((), torch.nan).expand_as(one) if place == n else one for n, one in enumerate(maps)]
        )

    @property
    def gives(self) -> str:
        """Maps of several resolutions."""
        return "maps"

    @property
    def can_be_cut_inside(self) -> bool:
        """False: the decoder takes maps from all along the encoder."""
        return False

    @property
    def least_batch(self) -> int:
        """The fewest images that a training step can take."""
        return 2 if self._kind in _NEEDS_TWO_IMAGES else 1

    def dropout(self) -> tuple[float, ...]:
        """Read the rates of all dropout layers on top of the encoder from the live modules, in order."""
        layers = (layer for top in (self.decoder, self.channel_dropout) for layer in top.modules())
        return tuple(layer.p for layer in layers if isinstance(layer, nn.Dropout | nn.Dropout2d) and layer.p > 0)

    def live_settings(self) -> Mapping[str, Any]:
        """Read the decoder back: its kind, from the type of its module, and its dropout."""
        return {"model.decoder": _LIVE_NAMES[type(self.decoder).__name__], "model.head.dropout": sum(self.dropout())}


def build_segmenter(config: ModelConfig, classes: int, *, keep: bool = False) -> Segmenter:
    """Build a segmenter in training mode on the CPU, its encoder loaded and frozen as the config says.

    What is not loaded is drawn from torch's global generator: seed it before.

    Args:
        config: backbone, freeze depth, decoder and its dropout; `weights_file` is loaded if one is given.
        classes: number of logits per pixel.
        keep: whether to keep the encoder in this process for the next call, see `tune_cnn.models.resident`.

    Raises:
        SpaceFileError: no such backbone, one that does not go with the decoder, or a freeze depth beyond it.
        WeightsError: the file cannot be read or does not fit; or weights are asked for and no file is given.
    """
    trunk = trunk_of(config.model_copy(update={"decoder": None}))
    backbone, preprocessing = loaded_backbone(config, trunk, keep=keep)
    model = _assembled(config, classes, preprocessing)
    # By unit and not by name, which feature networks change: so the one way of loading and checking files serves both.
    loaded = [unit for _, unit in units_of(backbone) if weight_layers(unit)]
    for unit, source in zip((unit for _, unit in units_of(model.trunk) if weight_layers(unit)), loaded, strict=False):
        unit.load_state_dict(source.state_dict())
    try:
        model.freeze_to(frozen_units_of(config))
    except ValueError as error:
        raise SpaceFileError(f"model.freeze: {error}") from error
    return model.train()


def segmenter_faults(backbone: str, decoder: Decoder, px: int) -> list[str]:
    """Say why a decoder cannot work on an encoder at an image size, by building and running it without memory.

    Args:
        backbone: a name of the catalogue.
        decoder: what is put on it.
        px: side of the images.

    Returns:
        A line, without place; empty if all is well.
    """
    try:
        with torch.device("meta"), torch.no_grad():
            config = ModelConfig(backbone=backbone, decoder=decoder)
            model = _assembled(config, 2, ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))).train()
            model(torch.zeros(2, 3, px, px))
    except SpaceFileError as error:
        return list(error.faults)
    except (AssertionError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()) or "its strides cannot be changed"
        return [
            f"the decoder {decoder} cannot work on {backbone} at {px} px ({reason:.120}); "
            "write another decoder, such as unet, or another image.px"
        ]
    return []


def _assembled(config: ModelConfig, classes: int, preprocessing: tuple[Channels, Channels]) -> Segmenter:
    """Build with random weights, nothing frozen, and without the encoder's units that no feature map needs."""
    assert config.decoder is not None  # noqa: S101 - `build_network` has looked
    line = trunk_of(config).line
    network = _DECODERS[config.decoder](
        f"tu-{facts(config.backbone_name).architecture}",
        encoder_weights=None,  # smp would ask the network for any
        classes=classes,
        **_NO_DROPOUT.get(config.decoder, {}),
    )
    trunk = network.encoder.model
    for name, _ in units_of(trunk)[len(line) :]:
        trunk.set_submodule(name, nn.Identity())
    live = tuple(weight_layers(unit) for _, unit in units_of(trunk))
    if live != line.weight_layers:
        raise SpaceFileError(
            f"smp {smp.__version__} builds {config.backbone} for {config.decoder} with {len(live)} units, but the "
            f"table of encoders says {len(line)} or other ones; install the pinned versions, or run `make backbones`"
        )
    return Segmenter(network, config.decoder, config.head.dropout, line, preprocessing)


def create_encoder(architecture: str) -> nn.Module:
    """Make smp's encoder of a timm network with random weights; its `model` is what holds the units."""
    encoder: nn.Module = smp.encoders.get_encoder(f"tu-{architecture}", weights=None)
    return encoder
