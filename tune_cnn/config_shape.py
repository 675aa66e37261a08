"""Walk the types of a config: which names a section knows, what stands at a name, where else a name is at home."""

import difflib
import types
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

Scalar = str | int | float | bool | None
Location = tuple[str | int, ...]
"""A place in a tree of mappings and lists: names and positions from the root."""


def dotted(location: Location) -> str:
    """`("training", "schedule", "factor")` as `training.schedule.factor`; the root is the empty text."""
    return ".".join(str(part) for part in location)


def value_at(tree: Any, location: Location) -> Any:
    """What stands at `location`; None where nothing does."""
    for part in location:
        if isinstance(tree, dict):
            tree = tree.get(part)
        elif isinstance(tree, list) and isinstance(part, int) and part < len(tree):
            tree = tree[part]
        else:
            return None
    return tree


def nearest(word: str, known: Iterator[str] | tuple[str, ...] | list[str]) -> str | None:
    """The known word that `word` was most likely meant to be; None if none is close."""
    by_case = {name.lower(): name for name in known}
    word = word.lower()[:100]
    found = difflib.get_close_matches(word, by_case, n=1, cutoff=0.6)
    longer = [name for name in by_case if word in name and len(word) > 2]
    return by_case[found[0]] if found else by_case[longer[0]] if len(longer) == 1 else None


def members(annotation: Any) -> tuple[Any, ...]:
    """The types a value may have, with unions, `Annotated` and None taken apart."""
    if get_origin(annotation) is Annotated:
        return members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(member for part in get_args(annotation) for member in members(part))
    return () if annotation is type(None) else (annotation,)


def is_section(annotation: Any) -> bool:
    """Whether a type is a section with names of its own."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def kind_of(section: type[BaseModel]) -> str | None:
    """The text that `kind` must have in this section; None if the section has no kind, or knows several."""
    field = section.model_fields.get("kind")
    texts = get_args(field.annotation) if field and get_origin(field.annotation) is Literal else ()
    return str(texts[0]) if len(texts) == 1 else None


def kinds(annotation: Any) -> tuple[str, ...]:
    """The kinds among which `kind` chooses; empty if the annotation leaves no such choice."""
    found = [kind_of(member) for member in members(annotation) if is_section(member)]
    return tuple(kind for kind in found if kind is not None)


def section_for(annotation: Any, value: Any) -> type[BaseModel] | None:
    """The section that a mapping is read as: by its `kind` where there are several; None if that cannot be told."""
    sections = [member for member in members(annotation) if is_section(member)]
    if len(sections) == 1:
        return sections[0]  # type: ignore[no-any-return]  # `members` takes any annotation apart
    kind = value.get("kind") if isinstance(value, dict) else None
    return next((section for section in sections if isinstance(kind, str) and kind_of(section) == kind), None)


def child(annotation: Any, part: str | int, value: Any) -> Any:
    """The annotation of what lies at `part` of a `value` of this annotation; `Any` where the config leaves it open."""
    if isinstance(part, int):
        lists = [member for member in members(annotation) if get_origin(member) is tuple]
        return get_args(lists[0])[0] if lists else Any
    section = section_for(annotation, value)
    field = section.model_fields.get(part) if section else None
    return field.annotation if field else Any


def field_at(model: type[BaseModel], location: Location, tree: Any) -> FieldInfo | None:
    """The field that a location ends in; None below lists, in open mappings, and at unknown names."""
    annotation: Any = model
    for depth, part in enumerate(location[:-1]):
        annotation = child(annotation, part, value_at(tree, location[:depth]))
    section = section_for(annotation, value_at(tree, location[:-1]))
    return section.model_fields.get(str(location[-1])) if section and location else None


@cache
def names_below(model: type[BaseModel]) -> tuple[Location, ...]:
    """Every location of every branch of a config, sections first and each once."""
    found: dict[Location, None] = {}

    def visit(section: type[BaseModel], prefix: Location) -> None:
        for name, field in section.model_fields.items():
            found[*prefix, name] = None
            for member in members(field.annotation):
                if is_section(member):
                    visit(member, (*prefix, name))

    visit(model, ())
    return tuple(found)


def kinds_with(annotation: Any, name: str) -> tuple[str, ...]:
    """The kinds of a section that know `name`."""
    sections = [member for member in members(annotation) if is_section(member)]
    return tuple(kind for section in sections if (kind := kind_of(section)) and name in section.model_fields)
