"""Turn what pydantic found into one sentence per fault: what stood there, and what to write instead."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from tune_cnn.config_shape import (
    Location,
    child,
    dotted,
    field_at,
    is_section,
    kind_of,
    kinds,
    kinds_with,
    members,
    names_below,
    nearest,
    section_for,
    value_at,
)

_LONGEST = 60
_LONGEST_NAME = 200
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_TYPE_FAULTS = ("_type", "literal_error", "model_attributes_type")


@dataclass(frozen=True)
class Fault:
    """One thing wrong at one place of a config."""

    location: Location
    text: str
    value_fault: bool = False
    """Whether the text begins with the value that stands at the location."""
    together: bool = False
    """Whether it is a fault of several names together, each good by itself."""
    name_fault: bool = False
    """Whether it is the name at the location that is wrong, whatever stands there."""

    def line(self, place: str) -> str:
        """`file:line: dotted.name: what, and what to write instead`."""
        name = printable(dotted(self.location))
        return f"{place}: {name}: {self.text}" if name else f"{place}: {self.text}"


def printable(text: str) -> str:
    """A text on one line of a terminal: clipped, all that would move the cursor or change colours escaped."""
    text = text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def shown(value: Any) -> str:
    """A value as one would write it in YAML, clipped, with control characters escaped."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def listing(words: Iterable[object]) -> str:
    """`a, b or c`."""
    *first, last = [str(word) for word in words]
    return f"{', '.join(first)} or {last}" if first else last


def faults_of(error: ValidationError, model: type[BaseModel], tree: Any) -> list[Fault]:
    """All faults of a config, one each, without pydantic's names for the branches of a union.

    Args:
        error: what `model.model_validate(tree)` raised.
        model: the type the tree was read as.
        tree: plain mappings, lists and scalars.
    """
    found: dict[tuple[Location, str | None], list[tuple[Location, ErrorDetails]]] = {}
    for details in error.errors(include_url=False):
        location, union, branch = _without_branches(details["loc"], model, tree)
        key = (union, branch) if union is not None else (location, f"{details['type']} only once")
        found.setdefault(key, []).append((location, details))
    faults = []
    for union in dict.fromkeys(key[0] for key in found):
        branches = [group for key, group in found.items() if key[0] == union]
        faults += _union_faults(union, branches, model, tree)
    return faults


def _without_branches(loc: Location, model: type[BaseModel], tree: Any) -> tuple[Location, Location | None, str | None]:
    """The location in the tree, the innermost plain union it lies in (None: in none), and the branch of that union."""
    annotation: Any = model
    place: list[str | int] = []
    union, branch, parts = None, None, list(loc)
    while parts:
        here = value_at(tree, tuple(place))
        choices = members(annotation)
        if len(choices) > 1:
            label = parts.pop(0)
            if not kinds(annotation):
                union, branch = tuple(place), str(label)
                annotation = next((choice for choice in choices if _labelled(choice, branch)), Any)
                continue
            annotation = section_for(annotation, {"kind": label})
            if not parts:
                break
        part = parts.pop(0)
        annotation = child(annotation, part, here)
        place.append(part)
    return tuple(place), union, branch


def _labelled(choice: Any, label: str) -> bool:
    """Whether pydantic's label of a union's branch belongs to this member of the union."""
    return label.startswith("tuple[") if get_origin(choice) is tuple else not label.startswith("tuple[")


def _union_faults(
    union: Location,
    branches: list[list[tuple[Location, ErrorDetails]]],
    model: type[BaseModel],
    tree: Any,
) -> list[Fault]:
    """The faults of the branch that was meant: the one whose faults are not that the value is of another type."""
    if len(branches) > 1:
        meant = [group for group in branches if not all(_wrong_type(union, *fault) for fault in group)]
        if not meant:
            return [_fault_of_no_branch(union, model, tree)]
        branches = meant[:1]
    return [_fault(location, details, model, tree) for group in branches for location, details in group]


def _wrong_type(union: Location, location: Location, details: ErrorDetails) -> bool:
    return location == union and details["type"].endswith(_TYPE_FAULTS)


def _fault_of_no_branch(location: Location, model: type[BaseModel], tree: Any) -> Fault:
    value, field = value_at(tree, location), field_at(model, location, tree)
    choices = members(field.annotation) if field else ()
    words = [str(word) for choice in choices for word in get_args(choice) if isinstance(word, str)]
    close = nearest(value, words) if isinstance(value, str) else None
    numbers = [name for sort, name in ((int, "a whole number"), (float, "a number")) if sort in choices]
    if words and numbers:
        ways = listing([*words, *numbers])
    elif words:
        sections = any(is_section(item) for choice in choices for item in get_args(choice))
        several = "a list of transforms, each {transform: NAME, arguments: {…}}" if sections else "a list of these"
        ways = listing([*words, several])
    else:
        ways = listing("a text" if choice is str else "a fraction such as 0.1" for choice in choices)
    hint = f"did you mean {close!r}? Write {ways}" if close else f"write {ways}"
    return Fault(location, f"{shown(value)} cannot stand here; {hint}", value_fault=True)


# --- one sentence per sort of fault ---------------------------------------------------------------------------------


def _fault(location: Location, details: ErrorDetails, model: type[BaseModel], tree: Any) -> Fault:
    sort, value, limits = details["type"], details["input"], details.get("ctx", {})
    field = field_at(model, location, tree)
    if sort == "value_error":
        return _section_fault(location, str(limits["error"]), tree)
    if sort == "extra_forbidden":
        return Fault(location, _unknown_name(location, model, tree), name_fault=True)
    if sort == "missing":
        return Fault(location, f"missing; write e.g. {location[-1]}: {_example(location[-1], field)}")
    if sort in ("union_tag_not_found", "union_tag_invalid"):
        return _kind_fault(location, value, field)
    if sort in _BOUNDS:
        return Fault(location, _BOUNDS[sort](value, limits), value_fault=True)
    return Fault(location, _type_fault(sort, value, location, field, model, tree), value_fault=True)


_BOUNDS: Mapping[str, Callable[[Any, Mapping[str, Any]], str]] = {
    "greater_than": lambda value, limits: f"{shown(value)} is too small; write a number above {limits['gt']:g}",
    "greater_than_equal": lambda value, limits: f"{shown(value)} is too small; write {limits['ge']:g} or more",
    "less_than": lambda value, limits: f"{shown(value)} is too large; write a number below {limits['lt']:g}",
    "less_than_equal": lambda value, limits: f"{shown(value)} is too large; write {limits['le']:g} or less",
    "string_too_short": lambda value, limits: (
        f"{shown(value)} is too short; write {limits['min_length']} character or more"
    ),
    "string_too_long": lambda value, limits: (
        f"{shown(value)} is too long; write {limits['max_length']} characters or fewer"
    ),
    "string_pattern_mismatch": lambda value, _: (
        f"{shown(value)} has characters that do not fit a file name; write letters, digits, '.', '_' and '-', "
        "the first a letter or a digit"
    ),
    "finite_number": lambda value, _: f"{shown(value)} is not a finite number; write one",
}


def _section_fault(location: Location, text: str, tree: Any) -> Fault:
    """A fault of several names together, laid to the first name that its text speaks of."""
    named = tuple(text.split(" ", 1)[0].split("."))
    return Fault(
        (*location, *named) if value_at(tree, (*location, *named)) is not None else location, text, together=True
    )


def _unknown_name(location: Location, model: type[BaseModel], tree: Any) -> str:
    parent, name = location[:-1], str(location[-1])
    annotation = _annotation_at(model, parent, tree)
    section = section_for(annotation, value_at(tree, parent))
    known = tuple(section.model_fields) if section else ()
    written = (name, dotted(location))
    elsewhere = [dotted(place) for place in names_below(model) if place[-1] == name or dotted(place) in written]
    other_kinds = kinds_with(annotation, name)
    if section and other_kinds:
        return f"unknown name for kind {kind_of(section)}; it belongs to kind {listing(other_kinds)}"
    if "." in name and elsewhere:
        return f"unknown name; a dotted name is for the command line, write sections within sections: {_nested(name)}"
    if elsewhere and name != "kind":
        return f"unknown name; did you mean {listing(dict.fromkeys(elsewhere))}?"
    if close := nearest(name, known):
        return f"unknown name; did you mean {close!r}?"
    return f"unknown name; known here: {', '.join(known)}"


def _nested(name: str) -> str:
    *sections, last = name.split(".")
    return "".join(f"{section}: {{" for section in sections) + f"{last}: …" + "}" * len(sections)


def _annotation_at(model: type[BaseModel], location: Location, tree: Any) -> Any:
    annotation: Any = model
    for depth, part in enumerate(location):
        annotation = child(annotation, part, value_at(tree, location[:depth]))
    return annotation


def _kind_fault(location: Location, value: Any, field: FieldInfo | None) -> Fault:
    known = kinds(field.annotation) if field else ()
    if not isinstance(value, dict) or "kind" not in value:
        return Fault(location, f"kind is missing; write kind: {listing(known)}")
    kind = value["kind"]
    close = nearest(kind, known) if isinstance(kind, str) else None
    hint = f"did you mean {close!r}? Known: {', '.join(known)}" if close else f"write {listing(known)}"
    return Fault((*location, "kind"), f"{shown(kind)} is unknown; {hint}", value_fault=True)


def _type_fault(
    sort: str,
    value: Any,
    location: Location,
    field: FieldInfo | None,
    model: type[BaseModel],
    tree: Any,
) -> str:
    annotation = _annotation_at(model, location, tree)
    if isinstance(value, str) and sort in ("int_type", "float_type") and _NUMBER.fullmatch(value):
        return f"{shown(value)} in quotes is text; drop the quotes: {value}"
    if sort == "literal_error":
        return _literal_fault(value, annotation)
    if sort in ("model_type", "model_attributes_type", "dict_type"):
        return f"{shown(value)} is not a section; write {_section_example(value, location, annotation)}"
    if sort == "tuple_type":
        inside = "…" if isinstance(value, dict) else f"{value}"
        return f"{shown(value)} is not a list; write e.g. {location[-1]}: [{inside}]"
    wanted, example = _WANTED.get(sort, ("allowed", None))
    hint = f"{shown(value)} is not {wanted}; write {example or 'e.g. ' + _example(location[-1], field)}"
    searched = isinstance(value, dict) and {"min", "max", "low", "high", "values", "uniform"} & set(value)
    return hint + ("; to search it, {range: [low, high]} or {choice: [a, b]}" if searched else "")


_WANTED = {
    "float_type": ("a number", None),
    "int_type": ("a whole number", None),
    "bool_type": ("a truth value", "true or false"),
    "string_type": ("text", None),
}


def _literal_fault(value: Any, annotation: Any) -> str:
    known = [word for member in members(annotation) for word in get_args(member)]
    close = nearest(value, [word for word in known if isinstance(word, str)]) if isinstance(value, str) else None
    hint = f"did you mean {close!r}? Known: {', '.join(map(str, known))}" if close else f"write {listing(known)}"
    return f"{shown(value)} is unknown; {hint}"


def _section_example(value: Any, location: Location, annotation: Any) -> str:
    name, known = location[-1] if location else "name", kinds(annotation)
    if known:
        close = nearest(value, known) if isinstance(value, str) else None
        return f"{name}: {{kind: {close or known[0]}}}"
    sections = [member for member in members(annotation) if is_section(member)]
    if not sections:
        return "names and values"
    first, field = next(iter(sections[0].model_fields.items()))
    fits = isinstance(value, int | float | str) and not isinstance(value, bool)
    inside = f"{first}: {value if fits else _example(first, field)}"
    return f"{{{inside}}}" if isinstance(name, int) else f"{name}: {{{inside}}}"


_EXAMPLES = {
    "name": "my-search",
    "root": "data/my-images",
    "backbone": "tf_efficientnet_lite0",
    "kind": "custom",
    "conv": "32",
    "layers": "[{conv: 32}]",
    "val": "valid",
    "images": "Image",
    "masks": "Mask",
    "values": "{0: background, 255: water}",
    "transform": "HorizontalFlip",
    "data": "{kind: folders, root: data/my-images, splits: {train: train, val: valid}}",
    "splits": "{train: train, val: valid}",
    "model": "{backbone: tf_efficientnet_lite0}",
}


def _example(name: str | int, field: FieldInfo | None) -> str:
    """A value that would do for a field: its own default, else a customary one."""
    if name in _EXAMPLES:
        return _EXAMPLES[str(name)]
    if field is None:
        return "1"
    default = field.get_default()
    if isinstance(default, int | float | str) and not field.is_required():
        return json.dumps(default) if isinstance(default, bool) else str(default)
    if isinstance(default, tuple):
        return "[]"
    types = members(field.annotation)
    if int in types:
        return "5"
    return "0.5" if float in types else "text"
