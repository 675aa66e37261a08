"""Find the point of a space at which a configuration of another space lies, if it lies in it at all."""

from collections.abc import Iterator, Mapping
from typing import Any

from tune_cnn.config import TrialConfig
from tune_cnn.config_shape import Scalar
from tune_cnn.errors import SpaceFileError
from tune_cnn.space.domains import Choice, FloatRange, IntRange, Parameter, Range, on_grid
from tune_cnn.space.nodes import Drawn, Fixed, Items, Named, Node, Searched
from tune_cnn.space.schema import Space

_NOT_COMPARED = ("name", "seed", "cpu_threads")
"""What every trial of a search has alike, or what changes no score."""


class _NoPlaceError(Exception):
    """A value lies outside its new domain, or there is none for a parameter that is new."""


def place_in(space: Space, config: TrialConfig, known: Mapping[str, Scalar]) -> Drawn | None:
    """Give the point of a space that trains as a configuration does; None if no point does.

    A parameter that is new takes the value that the configuration had, written or not: a search that had a batch size
    of 32 fixed has tried just that one. A parameter that is fixed now admits those configurations that had its value.

    Args:
        space: to look in.
        config: a whole configuration, wherever it came from.
        known: what its values were, by key; where a key of the space is among them, its value is tried first.
    """
    body = _compared(config)
    searched = {node.parameter.key: node for node in _searched(space.root)}
    # A label may mean another thing by now: then what the configuration holds decides alone.
    return next((found for hints in (known, {}) if (found := _placed(space, searched, body, hints))), None)


def _placed(
    space: Space, searched: Mapping[str, Searched], body: Mapping[str, Any], hints: Mapping[str, Scalar]
) -> Drawn | None:
    def value_of(parameter: Parameter) -> Scalar:
        hint = hints.get(parameter.key)
        if parameter.key in hints and _holds(parameter, hint):
            return hint
        return _value_in(searched[parameter.key], _at(body, parameter.name))

    try:
        drawn = space.draw(value_of)
        found = space.config(drawn.tree, seed=0, cpu_threads=1, weights_file=None)
    except (_NoPlaceError, SpaceFileError):
        return None
    return drawn if _compared(found) == body else None


def _compared(config: TrialConfig) -> dict[str, Any]:
    """Give what decides a configuration's scores: not where its files lie."""
    body = config.model_dump(mode="json", exclude={*_NOT_COMPARED})
    data, model = ({**body[name]} for name in ("data", "model"))
    data.pop("root")
    model.pop("weights_file")
    return {**body, "data": data, "model": model}


def _searched(node: Node) -> Iterator[Searched]:
    match node:
        case Fixed():
            return
        case Named(children):
            inner: Iterator[Node] = iter(children.values())
        case Items(children):
            inner = iter(children)
        case Searched(options=options):
            yield node
            inner = iter(options)
    for each in inner:
        yield from _searched(each)


def _at(body: Any, name: str) -> Any:
    """Give what stands under a dotted name.

    Raises:
        _NoPlaceError: nothing does.
    """
    for part in name.split("."):
        try:
            body = body[int(part)] if isinstance(body, list) else body[part]
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise _NoPlaceError(name) from error
    return body


def _value_in(node: Searched, there: Any) -> Scalar:
    """Give the value, or the label of the option, that stands for what is there.

    Raises:
        _NoPlaceError: none does.
    """
    parameter = node.parameter
    if isinstance(parameter.domain, Choice):
        for label, option in zip(parameter.domain.labels, node.options, strict=True):
            if _may_be(option, there):
                return label
        raise _NoPlaceError(parameter.name)
    value = float(there) if isinstance(parameter.domain, FloatRange) and type(there) is int else there
    if not _holds(parameter, value):
        raise _NoPlaceError(parameter.name)
    found: Scalar = value
    return found


def _may_be(node: Node, there: Any) -> bool:
    """Whether what is there could have been drawn from a node; what the node does not write may be anything."""
    match node:
        case Fixed(value):
            return bool(value == there) and isinstance(value, bool) == isinstance(there, bool)
        case Named(children):
            return isinstance(there, dict) and all(
                name in there and _may_be(inner, there[name]) for name, inner in children.items()
            )
        case Items(children):
            return (
                isinstance(there, list)
                and len(there) == len(children)
                and all(_may_be(inner, one) for inner, one in zip(children, there, strict=True))
            )
        case Searched():
            try:
                _value_in(node, there)
            except _NoPlaceError:
                return False
            return True


def _holds(parameter: Parameter, value: Any) -> bool:
    domain = parameter.domain
    if isinstance(domain, Choice):
        return any(label == value and type(label) is type(value) for label in domain.labels)
    return _in_range(domain, value)


def _in_range(domain: Range, value: Any) -> bool:
    kind = int if isinstance(domain, IntRange) else float
    if type(value) is not kind or not domain.low <= value <= domain.high:
        return False
    if isinstance(domain, IntRange):
        return (value - domain.low) % domain.step == 0
    if domain.step is None:
        return True
    return bool(value in (domain.high, on_grid(domain.low, domain.step, round((value - domain.low) / domain.step))))
