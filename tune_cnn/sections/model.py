"""The `model` section: a backbone, how much of it is frozen, the head on top."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tune_cnn.sections.base import ListOf, Section, Share


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


class HeadConfig(Section):
    """Dense layers between the pooled features and the classes."""

    hidden: ListOf[Annotated[int, Field(ge=1)]] = ()
    batch_norm: bool = False
    dropout: Share = 0.0


Decoder = Literal[
    "unet", "unetplusplus", "fpn", "deeplabv3", "deeplabv3plus", "manet", "linknet", "pan", "pspnet", "upernet"
]


class ModelConfig(Section):
    """A backbone, the weights it starts from, how much of it is frozen, and the head on top."""

    backbone: str
    weights: str = "imagenet"
    """`imagenet`, `none`, or a safetensors file (relative to the space file's project)."""
    weights_file: str | None = None
    """The local file that `weights` was resolved to; filled in by the search, so that no trial asks the network."""
    freeze: Freeze = Freeze()
    head: HeadConfig = HeadConfig()
    decoder: Decoder | None = None
    """For segmentation: what makes a mask of the backbone's feature maps; `head.dropout` is then the dropout in front
    of the last convolution, over whole channels."""

    @model_validator(mode="after")
    def _decoder_takes_the_place_of_the_head(self) -> Self:
        written = [
            name for name in type(self.head).model_fields if getattr(self.head, name) != getattr(HeadConfig(), name)
        ]
        useless = [name for name in written if name != "dropout"]
        if self.decoder is not None and useless:
            raise ValueError(
                f"head.{useless[0]} is written, but the decoder {self.decoder} stands in the place of the head; "
                "write no more than head: {dropout: 0.2}"
            )
        return self
