"""The `image` and `augment` sections: how a file becomes pixels, and how pixels are varied."""

from typing import Any, Literal

from pydantic import Field

from tune_cnn.sections.base import ListOf, Section


class ImageConfig(Section):
    """How a decoded image becomes a square of `px` pixels."""

    px: int = Field(default=224, ge=16, le=2048)
    fit: Literal["pad", "stretch", "crop"] = "pad"
    max_megapixels: float = Field(default=100.0, gt=0)


class Transform(Section):
    """One albumentations transform by name, with its arguments."""

    transform: str
    arguments: dict[str, Any] = Field(default={})


Policy = Literal["none", "light", "strong", "aerial"] | ListOf[Transform]
