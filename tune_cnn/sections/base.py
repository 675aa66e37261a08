"""What all sections of a config share: strictness, and the types of their numbers."""

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Item = TypeVar("Item")
# Strict mode would take a tuple only, but YAML and JSON write lists; the items stay strict.
ListOf = Annotated[tuple[Item, ...], Field(strict=False)]


class Section(BaseModel):
    """A part of a config: says everything, forbids the rest, never changes, takes no NaN and no text for a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True)
