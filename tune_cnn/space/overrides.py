"""`--set NAME=VALUE`: put values of the command line into the tree of a space file."""

from collections.abc import Iterator
from typing import Any

from tune_cnn.config_faults import shown
from tune_cnn.config_shape import Location, dotted, value_at
from tune_cnn.errors import SpaceFileError
from tune_cnn.space.expressions import is_expression
from tune_cnn.yaml_files import Document, read_text


def with_override(document: Document, text: str) -> Document:
    """The document with the value of one `NAME=VALUE` in place of what stood at NAME and below.

    Raises:
        SpaceFileError: no NAME=VALUE, a VALUE that is no YAML, or a NAME that no option of a searched section writes.
    """
    origin = f"--set {text}"
    name, equals, value = text.partition("=")
    location = tuple(name.strip().split("."))
    if not equals or not all(location):
        raise SpaceFileError(f"{origin}: not NAME=VALUE; write e.g. --set training.epochs=5")
    if not value.strip():
        raise SpaceFileError(f"{origin}: no value after the =; write e.g. --set {name.strip()}=5, or =null for none")
    return with_value(document, location, read_text(value, lambda _: origin)[0], origin)


def with_value(document: Document, location: tuple[str, ...], value: Any, origin: str) -> Document:
    """The document with `value` at `location`, said to come from `origin`.

    Raises:
        SpaceFileError: something on the way to `location` is no section.
    """
    tree = _replaced(document.tree, location, value, origin)
    set_by, lines = dict(document.set_by), dict(document.lines)
    for there in _places(tree, location):
        lines = {place: line for place, line in lines.items() if place[: len(there)] != there}
        set_by = {place: words for place, words in set_by.items() if place[: len(there)] != there}
        set_by[there] = origin
    return Document(document.path, tree, lines, set_by)


def _places(tree: Any, location: Location, above: Location = ()) -> Iterator[Location]:
    """Where in the file `location` stands: once, or once in each option of a choice that writes it."""
    if not location:
        yield above
    elif is_expression(tree) and above:
        for name, option in _options_writing(tree, location).items():
            yield from _places(option, location, (*above, "choice", name))
    else:
        yield from _places(tree[location[0]], location[1:], (*above, location[0]))


def _options_writing(tree: Any, location: Location) -> dict[str | int, Any]:
    """The options of a choice in which something stands at `location`, by name or position."""
    choice = tree.get("choice")
    options = choice if isinstance(choice, dict) else dict(enumerate(choice)) if isinstance(choice, list) else {}
    return {name: option for name, option in options.items() if value_at(option, location) is not None}


def _replaced_in_options(tree: Any, location: Location, value: Any, origin: str, above: Location) -> Any:
    """Set a value in all options of a choice of sections that write it; at least one has to."""
    writing = _options_writing(tree, location)
    if not writing:
        raise SpaceFileError(
            f"{origin}: {dotted(above)} is searched, and none of its options writes {dotted(location)}; "
            f"replace the whole with --set '{dotted(above)}=…'"
        )
    changed = {name: _replaced(option, location, value, origin, above) for name, option in writing.items()}
    choice = tree["choice"]
    if isinstance(choice, dict):
        return {**tree, "choice": {**choice, **changed}}
    return {**tree, "choice": [changed.get(position, option) for position, option in enumerate(choice)]}


def _replaced(tree: Any, location: Location, value: Any, origin: str, above: Location = ()) -> Any:
    if not location:
        return value
    if is_expression(tree) and above:
        return _replaced_in_options(tree, location, value, origin, above)
    if not isinstance(tree, dict):
        raise SpaceFileError(
            f"{origin}: {dotted(above)} is {shown(tree)}, not a section; "
            f"replace it with --set '{dotted(above)}={{{dotted(location)}: …}}'"
        )
    name = str(location[0])
    inner = _replaced(tree.get(name, {}), location[1:], value, origin, (*above, name))
    return {**tree, name: inner}
