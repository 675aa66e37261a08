"""The `model` section: a backbone, how much of it is kept and frozen, the head on top."""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from tune_cnn.sections.base import ListOf, Section, Share
from tune_cnn.sections.layers import CustomBackbone, Layers


class Freeze(Section):
    """How much of the backbone stands still, in exactly one of four ways; nothing written means nothing frozen."""

    depth: float | None = Field(default=None, ge=0, le=1)
    last_units: int | None = Field(default=None, ge=0)
    last_layers: int | None = Field(default=None, ge=0)
    stride: Literal[4, 8, 16, 32] | None = None

    @model_validator(mode="after")
    def _one_way_only(self) -> Self:
        written = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(written) > 1:
            raise ValueError(f"{' and '.join(written)} are both written; keep one of them")
        return self

    @property
    def freezes(self) -> bool:
        """Whether anything may stand still."""
        return bool(self.depth) or not (self.last_units is self.last_layers is self.stride is None)

    @property
    def leaves_units(self) -> bool:
        """Whether a written depth leaves units of the backbone to train."""
        return not (self.depth == 1 or self.last_units == 0 or self.last_layers == 0)


class HeadConfig(Section):
    """What stands between the features and the classes; as `svm` or `logistic` one linear layer fitted to all at once.

    In order: `convolutions` on the map of features, if any; then the map is averaged (`pooled`) or laid out (`flat`);
    then the dense layers.
    """

    hidden: ListOf[Annotated[int, Field(ge=1)]] = ()
    batch_norm: bool = False
    dropout: Share = 0.0
    features: Literal["pooled", "flat"] = "pooled"
    """`pooled`: the mean over all pixels, as the backbone makes it. `flat`: every pixel of the map by itself."""
    convolutions: Layers = ()
    """On the unpooled map of the backbone."""
    kind: Literal["dense", "svm", "logistic"] = "dense"
    """`svm` and `logistic`: no gradient descent, but scikit-learn on the features of the wholly frozen backbone."""
    c: float | None = Field(default=None, gt=0)
    """For svm and logistic: the smaller, the stronger the regularisation; null means 1."""

    @model_validator(mode="after")
    def _a_baseline_is_one_linear_layer(self) -> Self:
        if self.kind == "dense":
            if self.c is not None:
                raise ValueError("c is written, but it is for kind svm or logistic; leave it out, or write kind: svm")
            return self
        for name in ("hidden", "batch_norm", "dropout", "features", "convolutions"):
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(
                    f"{name} is written, but kind {self.kind} is one linear layer on the pooled features; "
                    f"leave {name} out, or write kind: dense"
                )
        return self

    @property
    def takes_map(self) -> bool:
        """Whether the head works on the unpooled features."""
        return self.features == "flat" or bool(self.convolutions)


def _sort_of_backbone(value: Any) -> str:
    return "custom" if isinstance(value, dict | CustomBackbone) else "name"


Backbone = Annotated[
    Annotated[str, Tag("name")] | Annotated[CustomBackbone, Tag("custom")], Discriminator(_sort_of_backbone)
]


Decoder = Literal[
    "unet", "unetplusplus", "fpn", "deeplabv3", "deeplabv3plus", "manet", "linknet", "pan", "pspnet", "upernet"
]


class ModelConfig(Section):
    """A backbone, the weights it starts from, how much of it is kept and frozen, and the head on top."""

    backbone: Backbone
    """A name of `tune-cnn backbones`, or `{kind: custom, layers: […]}` for a network from scratch."""
    weights: str = "imagenet"
    """`imagenet`, `none`, or a safetensors file (relative to the space file's project); custom ones have `none`."""
    weights_file: str | None = None
    """The local file that `weights` was resolved to; filled in by the search, so that no trial asks the network."""
    stages: int | None = Field(default=None, ge=1)
    """Keep the first stages of the backbone only, each ending where the resolution falls; null keeps all."""
    freeze: Freeze = Freeze()
    head: HeadConfig = HeadConfig()
    decoder: Decoder | None = None
    """For segmentation: what makes a mask of the backbone's feature maps; `head.dropout` is then the dropout in front
    of the last convolution, over whole channels."""

    @model_validator(mode="before")
    @classmethod
    def _custom_starts_from_random_weights(cls, values: Any) -> Any:
        if isinstance(values, dict) and _sort_of_backbone(values.get("backbone")) == "custom":
            return {"weights": "none", **values}
        return values

    @model_validator(mode="after")
    def _parts_go_together(self) -> Self:
        if self.decoder is not None:
            self._check_below_decoder(self.decoder)
        if not isinstance(self.backbone, str):
            self._check_custom()
        if self.head.kind != "dense" and self.freeze.freezes and self.freeze.leaves_units:
            raise ValueError(
                f"freeze leaves units to train, but head.kind {self.head.kind} is fitted to a wholly frozen backbone; "
                "leave freeze out, or write freeze: {depth: 1.0}"
            )
        return self

    def _check_below_decoder(self, decoder: Decoder) -> None:
        for name, field in type(self.head).model_fields.items():
            if name != "dropout" and getattr(self.head, name) != field.default:
                raise ValueError(
                    f"head.{name} is written, but the decoder {decoder} stands in the place of the head; "
                    "write no more than head: {dropout: 0.2}"
                )
        if not isinstance(self.backbone, str):
            raise ValueError(
                f"decoder {decoder} takes the feature maps of a backbone with a name, not of a custom one; "
                "write e.g. backbone: tf_efficientnet_lite0"
            )
        if self.stages is not None:
            raise ValueError(
                f"stages is written, but the decoder {decoder} takes what it needs of the backbone; leave stages out"
            )

    def _check_custom(self) -> None:
        if self.weights == "imagenet":
            raise ValueError("weights is imagenet, but a custom backbone has none; write weights: none, or a file")
        if self.stages is not None:
            raise ValueError("stages is for backbones with a name; leave it out, and layers of the custom backbone too")
        if self.weights == "none" and self.freeze.freezes:
            raise ValueError(
                "freeze is written, but a custom backbone starts from random weights, which would stand still; "
                "leave freeze out, or write weights: FILE.safetensors"
            )
        if self.weights == "none" and self.head.kind != "dense":
            raise ValueError(
                f"head.kind is {self.head.kind}, fitted to the features of a frozen backbone, but a custom one starts "
                "from random weights; write kind: dense, or weights: FILE.safetensors"
            )

    @property
    def backbone_name(self) -> str:
        """The backbone's name, `custom` for one from scratch."""
        return self.backbone if isinstance(self.backbone, str) else self.backbone.kind
