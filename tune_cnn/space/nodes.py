"""The tree of a space: fixed values, sections, lists and searched values; and how one config is drawn from it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tune_cnn.config_faults import shown
from tune_cnn.config_shape import Location, Scalar
from tune_cnn.space.domains import Choice, IntRange, Parameter, written

Suggest = Callable[[Parameter], Scalar]


@dataclass(frozen=True)
class Fixed:
    """A scalar, written out."""

    value: Scalar
    source: Location
    """Where it is written in the file; the same for every node."""


@dataclass(frozen=True)
class Named:
    """A mapping of names to nodes."""

    children: dict[str, "Node"]
    source: Location


@dataclass(frozen=True)
class Items:
    """A list of nodes."""

    children: tuple["Node", ...]
    source: Location


@dataclass(frozen=True)
class Searched:
    """A range (no options), or a choice whose labels stand for one option each."""

    parameter: Parameter
    options: tuple["Node", ...]
    source: Location
    named: bool = False
    """Whether the labels are names of the user's, which have to be written out with the options."""


Node = Fixed | Named | Items | Searched


@dataclass(frozen=True)
class Drawn:
    """One point of a space.

    Attributes:
        values: what was drawn, by key; only the parameters on the branches taken.
        named: the same by dotted name, the innermost where a choice offers a range of its own.
        tree: the plain config, without the search section.
        sources: where in the space file each place of `tree` comes from.
    """

    values: dict[str, Scalar]
    named: dict[str, Scalar]
    tree: Any
    sources: dict[Location, Location] = field(repr=False, compare=False)


def draw(root: Node, suggest: Suggest) -> Drawn:
    """Walk the tree, asking for a value wherever one is searched on the branches taken.

    Raises:
        ValueError: a value was suggested that is no label of its choice.
    """
    drawn = Drawn({}, {}, None, {})
    tree = _draw(root, suggest, (), drawn)
    return Drawn(drawn.values, drawn.named, tree, drawn.sources)


def _draw(node: Node, suggest: Suggest, location: Location, drawn: Drawn) -> Any:
    drawn.sources[location] = node.source
    match node:
        case Fixed():
            return node.value
        case Named():
            return {name: _draw(inner, suggest, (*location, name), drawn) for name, inner in node.children.items()}
        case Items():
            return [_draw(inner, suggest, (*location, place), drawn) for place, inner in enumerate(node.children)]
        case Searched():
            parameter = node.parameter
            value = suggest(parameter)
            drawn.values[parameter.key] = drawn.named[parameter.name] = value
            if not isinstance(parameter.domain, Choice):
                return value
            return _draw(node.options[_position(parameter, parameter.domain, value)], suggest, location, drawn)


def _position(parameter: Parameter, choice: Choice, value: Scalar) -> int:
    for position, label in enumerate(choice.labels):
        if label == value and type(label) is type(value):
            return position
    raise ValueError(f"{parameter.key}: {shown(value)} is none of its labels; write a {choice.text}")


def parameters(node: Node) -> Iterator[Parameter]:
    """All searched values over all branches, outer before inner."""
    match node:
        case Fixed():
            return
        case Named():
            for inner in node.children.values():
                yield from parameters(inner)
        case Items():
            for inner in node.children:
                yield from parameters(inner)
        case Searched():
            yield node.parameter
            for inner in node.options:
                yield from parameters(inner)


def every_value(node: Node) -> Iterator[Scalar]:
    """All values that a scalar or a whole number may take, over all branches.

    Raises:
        TypeError: it is a section, a list or a range of fractions, whose values cannot be listed.
    """
    match node:
        case Fixed():
            yield node.value
        case Searched(parameter=Parameter(domain=IntRange(low, high, _, step))):
            yield from range(low, high + 1, step)
        case Searched(parameter=Parameter(domain=Choice())):
            for inner in node.options:
                yield from every_value(inner)
        case _:
            raise TypeError(f"{node.source}: the values cannot be listed")


def plain(node: Node) -> Any:
    """The tree as it is written in a space file."""
    match node:
        case Fixed():
            return node.value
        case Named():
            return {name: plain(inner) for name, inner in node.children.items()}
        case Items():
            return [plain(inner) for inner in node.children]
        case Searched():
            return _plain_expression(node)


def _plain_expression(node: Searched) -> dict[str, Any]:
    domain, default = node.parameter.domain, node.parameter.default
    if isinstance(domain, Choice) and node.named:
        options = zip(domain.labels, node.options, strict=True)
        return {"choice": {str(label): plain(option) for label, option in options}, "default": default}
    if isinstance(domain, Choice):
        return {"choice": [plain(option) for option in node.options], "default": default}
    return {**written(domain), "default": default}
