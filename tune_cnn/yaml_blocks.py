"""Plain trees to YAML in block style, fast: only the shape is written here, by three rules of indentation.

A driver writes a config for each trial, and ruamel.yaml's own emitter, which makes an event and a node of each value,
took longer over it than over all that was decided in it. When a text needs quotes, ruamel.yaml still says.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

TextOf = Callable[[str], str]
"""Gives a text of one line as it is to stand in YAML, in quotes if need be."""
_LONGEST_TEXT = 100  # longer ones are no simple keys, and may be folded
_WORDS = {None: "null", True: "true", False: "false"}


class UnusualTreeError(Exception):
    """A tree holds what has a spelling of its own: long texts, several lines, numbers that are none, other types."""


def block_text(tree: Any, text_of: TextOf) -> str:
    """Give a mapping as ruamel.yaml would write it, to the letter.

    Args:
        tree: of mappings, lists and scalars, not empty.
        text_of: called for each text and name.

    Raises:
        UnusualTreeError: ruamel.yaml has to write it.
    """
    if type(tree) is not dict or not tree:
        raise UnusualTreeError
    return "".join(f"{line}\n" for line in _mapping(tree, "", text_of))


def _mapping(tree: dict[str, Any], indent: str, text_of: TextOf) -> Iterator[str]:
    for key, value in tree.items():
        name = f"{indent}{_text(key, text_of)}:"
        if type(value) is dict and value:
            yield name
            yield from _mapping(value, f"{indent}  ", text_of)
        elif type(value) is list and value:
            yield name
            yield from _list(value, indent, text_of)
        else:
            yield f"{name} {_scalar(value, text_of)}"


def _list(items: list[Any], indent: str, text_of: TextOf) -> Iterator[str]:
    for item in items:
        inner = f"{indent}  "
        if type(item) is dict and item:
            lines = _mapping(item, inner, text_of)
        elif type(item) is list and item:
            lines = _list(item, inner, text_of)
        else:
            lines = iter([f"{inner}{_scalar(item, text_of)}"])
        yield f"{indent}- {next(lines)[len(inner) :]}"
        yield from lines


def _scalar(value: Any, text_of: TextOf) -> str:
    kind = type(value)
    if kind is str:
        return _text(value, text_of)
    if kind is int:
        return str(value)
    if kind is float and math.isfinite(value):
        return repr(value)
    if value is None or kind is bool:
        return _WORDS[value]
    if kind is dict or kind is list:  # an empty one
        return "{}" if kind is dict else "[]"
    raise UnusualTreeError


def _text(text: Any, text_of: TextOf) -> str:
    if type(text) is not str or len(text) > _LONGEST_TEXT or not text.isprintable():
        raise UnusualTreeError
    return text_of(text)
