"""Convolution layers written out one by one: a backbone from scratch, or a head on unpooled features."""

from typing import Literal, Self

from pydantic import Field, model_validator

from tune_cnn.sections.base import ListOf, Section, Share


class ConvLayer(Section):
    """A convolution with bias, then as asked BatchNorm, always ReLU, then as asked pooling and dropout."""

    conv: int = Field(ge=1)
    """Channels that come out."""
    kernel: int = Field(default=3, ge=1)
    """Height and width."""
    padding: Literal["same", "valid"] | int = Field(default="same")
    """`same` keeps the size (divided by the stride, rounded up), `valid` adds none, a number that many pixels."""
    stride: int = Field(default=1, ge=1)
    pool: int | None = Field(default=None, ge=2)
    """Height, width and step of the pooling; null for none."""
    pool_kind: Literal["max", "avg"] = "max"
    batch_norm: bool = False
    dropout: Share = 0.0
    """Of whole channels: neighbouring pixels of one channel say much the same."""
    repeat: int = Field(default=1, ge=1, le=100)
    """How often the whole layer, its pooling included, stands in a row; search it to search the number of layers."""

    @model_validator(mode="after")
    def _padding_can_be_made(self) -> Self:
        if isinstance(self.padding, int) and not 0 <= self.padding < self.kernel:
            raise ValueError(
                f"padding is {self.padding}, but the kernel {self.kernel}; write 0 to {self.kernel - 1}, same or valid"
            )
        return self


Layers = ListOf[ConvLayer]


class CustomBackbone(Section):
    """A network from scratch: convolution layers, first to run first. The dense layers are the head's."""

    kind: Literal["custom"]
    layers: Layers

    @model_validator(mode="after")
    def _has_a_layer(self) -> Self:
        if not self.layers:
            raise ValueError("layers is empty; write one layer or more, e.g. layers: [{conv: 32}]")
        return self
