"""`--set NAME=VALUE`: put values of the command line into the tree of a space file."""

from typing import Any

from tune_cnn.config_faults import shown
from tune_cnn.config_shape import Location, dotted
from tune_cnn.errors import SpaceFileError
from tune_cnn.space.expressions import is_expression
from tune_cnn.yaml_files import Document, read_text


def with_override(document: Document, text: str) -> Document:
    """The document with the value of one `NAME=VALUE` in place of what stood at NAME and below.

    Raises:
        SpaceFileError: no NAME=VALUE, a VALUE that is no YAML, or a NAME inside a searched section.
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
    kept = {place: line for place, line in document.lines.items() if place[: len(location)] != location}
    set_by = {place: words for place, words in document.set_by.items() if place[: len(location)] != location}
    return Document(document.path, tree, kept, {**set_by, location: origin})


def _replaced(tree: Any, location: Location, value: Any, origin: str, above: Location = ()) -> Any:
    if not location:
        return value
    if is_expression(tree) and above:
        raise SpaceFileError(
            f"{origin}: {dotted(above)} is searched, and a value inside a choice cannot be set alone; "
            f"replace the whole with --set '{dotted(above)}=…'"
        )
    if not isinstance(tree, dict):
        raise SpaceFileError(
            f"{origin}: {dotted(above)} is {shown(tree)}, not a section; "
            f"replace it with --set '{dotted(above)}={{{dotted(location)}: …}}'"
        )
    name = str(location[0])
    inner = _replaced(tree.get(name, {}), location[1:], value, origin, (*above, name))
    return {**tree, name: inner}
