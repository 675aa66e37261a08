"""YAML files to plain trees with their lines, and to validated models; every fault with its line, all at once.

The YAML is 1.2 with its core schema: `1e-3` is a number, `no` and `2020-01-01` are text, a duplicate key is a fault.
The parser is ruamel.yaml's; the values are made here from its events, so that no tag can ever make an object, every
value keeps its line, and an alias bomb is refused before it explodes.
"""

import errno
import io
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml import events as yaml_events
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.representer import SafeRepresenter

from tune_cnn.config_faults import faults_of, printable, shown
from tune_cnn.config_shape import Location, Scalar, dotted
from tune_cnn.errors import SpaceFileError
from tune_cnn.files import read_file, write_whole
from tune_cnn.yaml_blocks import UnusualTreeError, block_text

Model = TypeVar("Model", bound=BaseModel)
Place = Callable[[int], str]

MAX_BYTES = 64 * 1024  # the parser needs about a second for this much
MAX_VALUES = 10_000  # aliases counted each time they are used
MAX_DEPTH = 30
_LARGEST_INT = 2**63 - 1  # what a database column and a seed hold
_LEAST = "name, data and model"

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_OTHER_BREAKS = re.compile("[\x85\u2028\u2029\ufeff]")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: Mapping[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(frozen=True)
class Document:
    """A YAML file as plain mappings, lists and scalars, with the line of each key and list item (from 1)."""

    path: Path
    tree: Any
    lines: Mapping[Location, int]
    set_by: Mapping[Location, str] = field(default_factory=dict)
    """What stood on the command line instead of in the file, by its location."""

    def where(self, location: Location) -> str:
        """`file:line` (or the command line's words) of the nearest enclosing place that was written."""
        for length in range(len(location), -1, -1):
            if location[:length] in self.set_by:
                return self.set_by[location[:length]]
            if location[:length] in self.lines:
                return f"{self.path}:{self.lines[location[:length]]}"
        return f"{self.path}:1"

    def order(self, location: Location) -> int:
        """For sorting faults: by line, the command line's last."""
        place = self.where(location).rpartition(":")[2]
        return int(place) if place.isdecimal() else MAX_BYTES


def read_yaml(path: Path, *, least: str = _LEAST) -> Document:
    """Read one YAML document.

    Args:
        path: the file.
        least: what an empty file is told to hold.

    Raises:
        SpaceFileError: the file cannot be read, is no YAML 1.2, holds nothing, or too much; every fault with its line.
    """
    tree, lines = read_text(_text_of(path), lambda line: f"{path}:{line}", least=least)
    return Document(path, tree, lines)


def plain_words(path: Path) -> list[tuple[int, str]]:
    """Give what stands in a readable file without quotes, with its line: readers of YAML 1.1 may take it otherwise.

    Raises:
        SpaceFileError: as `read_yaml`.
    """
    parser = YAML(typ="safe", pure=True)
    plain = (event for event in parser.parse(_text_of(path).removeprefix("\ufeff")) if _is_plain(event))
    return [(event.start_mark.line + 1, event.value) for event in plain]


def _is_plain(event: Any) -> bool:
    return isinstance(event, yaml_events.ScalarEvent) and bool(event.implicit[0])


def read_text(text: str, place: Place, *, least: str = _LEAST) -> tuple[Any, dict[Location, int]]:
    """Read one YAML document from text: the plain tree, and the line of each place in it.

    Args:
        text: YAML; a byte order mark is skipped.
        place: the words that stand before a fault, given its line.
        least: what an empty text is told to hold.

    Raises:
        SpaceFileError: as `read_yaml`.
    """
    text = text.removeprefix("\ufeff")
    reader = _Reader(place, least)
    try:
        tree = reader.document(iter(YAML(typ="safe", pure=True).parse(text)))
    except YAMLError as error:
        reader.faults.append(_parser_fault(error, text, place))
    except (ValueError, OverflowError) as error:  # ruamel.yaml lets these through for escapes beyond Unicode
        reader.faults.append(f"{place(1)}: a text has an escape that is no character ({error}); write the character")
    if reader.faults:
        raise SpaceFileError(reader.faults)
    return tree, reader.lines


def load_model(path: Path, model: type[Model]) -> Model:
    """Read a YAML file as a model, e.g. a trial's `config.yaml` as a `TrialConfig`.

    Raises:
        SpaceFileError: the file cannot be read, or does not say what the model needs; all faults at once.
    """
    document = read_yaml(path)
    try:
        return model.model_validate(document.tree)
    except ValidationError as error:
        faults = faults_of(error, model, document.tree)
    faults.sort(key=lambda fault: document.order(fault.location))
    raise SpaceFileError(fault.line(document.where(fault.location)) for fault in faults)


def _text_of(path: Path) -> str:
    try:
        data = read_file(path, most_bytes=MAX_BYTES)
    except OSError as error:
        if error.errno == errno.EFBIG:
            too_many = f"{path}: more than {MAX_BYTES} bytes are too many for such a file; write fewer"
            raise SpaceFileError(too_many) from error
        raise SpaceFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise SpaceFileError(f"{path}:{line}: not UTF-8 text ({error.reason}); save the file as UTF-8") from error


# --- events to values -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Anchored:
    """What an anchor stands for, and where in the document it was first written."""

    value: Any
    lines: Mapping[Location, int]
    values: int


class _Reader:
    """Makes plain values from the parser's events; collects the faults it can go on after."""

    def __init__(self, place: Place, least: str) -> None:
        self.faults: list[str] = []
        self.lines: dict[Location, int] = {}
        self._place, self._least = place, least
        self._order: list[Location] = []
        self._anchors: dict[str, _Anchored] = {}
        self._values = 0

    def document(self, events: Iterator[Any]) -> Any:
        """The value of the only document."""
        for event in events:
            if isinstance(event, yaml_events.DocumentStartEvent):
                break
        else:
            raise SpaceFileError(f"{self._place(1)}: the file is empty; write at least {self._least}")
        tree = self._value(next(events), events, ())
        for event in events:
            if isinstance(event, yaml_events.DocumentStartEvent):
                self._fault(event, "a second document begins here; keep one document per file")
                break
        return tree

    def _fault(self, event: Any, text: str) -> None:
        self.faults.append(f"{self._place(event.start_mark.line + 1)}: {printable(text)}")

    def _fatal(self, event: Any, text: str) -> SpaceFileError:
        self._fault(event, text)
        return SpaceFileError(self.faults)

    def _count(self, event: Any, values: int, depth: int) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise self._fatal(event, f"more than {MAX_VALUES} values, aliases written out; write fewer")
        if depth > MAX_DEPTH:
            raise self._fatal(event, f"nested more than {MAX_DEPTH} deep; write it flatter")

    def _value(self, event: Any, events: Iterator[Any], location: Location) -> Any:
        if isinstance(event, yaml_events.AliasEvent):
            return self._alias(event, location)
        before, written = self._values, len(self._order)
        self._count(event, 1, len(location))
        if event.tag is not None:
            self._fault(event, _tag_fault(event))
        if isinstance(event, yaml_events.MappingStartEvent):
            value: Any = self._mapping(events, location)
        elif isinstance(event, yaml_events.SequenceStartEvent):
            value = self._list(events, location)
        else:
            value = self._scalar(event)
        if event.anchor is not None:
            inside = {place[len(location) :]: self.lines[place] for place in self._order[written:]}
            self._anchors[event.anchor] = _Anchored(value, inside, self._values - before)
        return value

    def _alias(self, event: Any, location: Location) -> Any:
        anchored = self._anchors.get(event.anchor)
        if anchored is None:
            self._fault(event, f"the alias *{event.anchor} has no anchor before it; write &{event.anchor} first")
            return None
        self._count(event, anchored.values, len(location))
        if any(len(location) + len(place) > MAX_DEPTH for place in anchored.lines):
            self._count(event, 0, MAX_DEPTH + 1)
        for place, line in anchored.lines.items():
            self._write_down((*location, *place), line)
        return anchored.value

    def _write_down(self, location: Location, line: int) -> None:
        self.lines[location] = line
        self._order.append(location)

    def _mapping(self, events: Iterator[Any], location: Location) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for event in events:
            if isinstance(event, yaml_events.MappingEndEvent):
                break
            key, line = self._key(event, events), event.start_mark.line + 1
            if key in found:
                first = self.lines[*location, key]
                name = dotted((*location, key))
                self._fault(event, f"{name}: written twice, first in line {first}; keep one of the two")
                self._value(next(events), events, (*location, key, "twice"))
                continue
            self._write_down((*location, key), line)
            found[key] = self._value(next(events), events, (*location, key))
        return found

    def _key(self, event: Any, events: Iterator[Any]) -> str:
        if isinstance(event, yaml_events.ScalarEvent):
            value = self._scalar(event)
            if event.tag is not None:
                self._fault(event, _tag_fault(event))
            if event.value == "<<" and event.implicit[0]:
                self._fault(event, "<< is not part of YAML 1.2; write the names out")
            elif type(value) is int:  # a value of a mask; in the place of a name it is an unknown one
                return str(value)
            elif not isinstance(value, str):
                self._fault(event, f"{shown(value)} is not a name; write a text before the colon, in quotes if need be")
            return str(event.value)
        self._fault(event, "a list, section or alias is not a name; write a text before the colon")
        self._value(event, events, ("a key", len(self.faults)))
        return f"a key {len(self.faults)}"

    def _list(self, events: Iterator[Any], location: Location) -> list[Any]:
        found: list[Any] = []
        for event in events:
            if isinstance(event, yaml_events.SequenceEndEvent):
                break
            self._write_down((*location, len(found)), event.start_mark.line + 1)
            found.append(self._value(event, events, (*location, len(found))))
        return found

    def _scalar(self, event: Any) -> Scalar:
        text: str = event.value
        if "\0" in text:  # no path and no column of a database holds it
            self._fault(event, f"the text {shown(text)} holds the character \\0; remove it")
            return text.replace("\0", "")
        if not event.implicit[0]:
            return text
        if _NOT_FINITE.fullmatch(text):
            self._fault(event, f"{text} is not a finite number; write one, or null for none")
            return 0.0
        value = plain_scalar(text)
        if isinstance(value, int | float) and not abs(value) <= _LARGEST_INT:
            self._fault(event, f"{shown(text)} is too large a number; write one below 9e18")
            return 0
        return value


def _tag_fault(event: Any) -> str:
    tag = str(event.tag).replace("tag:yaml.org,2002:", "!!")
    return f"the tag {shown(tag)} is not taken; remove it, plain values say what they are"


def plain_scalar(text: str) -> Scalar:
    """An unquoted scalar by the core schema of YAML 1.2: null, truth value, number, or else text."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        if len(text) > 30:  # beyond every use, and int() refuses a few thousand digits
            return math.inf
        return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _parser_fault(error: YAMLError, text: str, place: Place) -> str:
    if isinstance(error, ReaderError):
        line = text.count("\n", 0, error.position) + 1
        letter = chr(error.character) if isinstance(error.character, int) else str(error.character)
        return f"{place(line)}: the character {letter!r} cannot stand in YAML; remove it"
    if not isinstance(error, MarkedYAMLError):
        return f"{place(1)}: not YAML: {error}"
    mark = error.problem_mark or error.context_mark
    problem = (error.problem or error.context or "not YAML").replace("\t", "\\t")
    opened = error.context_mark
    if opened is not None and mark is not None and opened.line != mark.line and error.context:
        problem += f" ({error.context} that begins in line {opened.line + 1})"
    hint = next((hint for words, hint in _HINTS.items() if words in problem), "mend the line or put the text in quotes")
    return f"{place(mark.line + 1 if mark else 1)}: not YAML: {printable(problem)}; {hint}"


_HINTS = {
    "'\\t'": "indent with spaces, not with a tab",
    "mapping values are not allowed": "check the indentation, or put a text with a colon in quotes",
    "cannot start any token": "put the text in quotes",
    "',' or ']'": "close the bracket with ]",
    "',' or '}'": "close the brace with }",
    "quoted scalar": "close the quote",
    "end of stream": "close the quote",
    "block end": "check the indentation",
    "could not find expected ':'": "write a colon and a space after the name",
}


# --- values to a file -----------------------------------------------------------------------------------------------


class _PlainRepresenter(SafeRepresenter):
    """Writes text in quotes wherever it would be read back as something else."""

    def represent_text(self, text: str) -> ScalarNode:
        reads_otherwise = not isinstance(plain_scalar(text), str) or _NOT_FINITE.fullmatch(text) or text == "<<"
        quoted = reads_otherwise or _OTHER_BREAKS.search(text)  # which quotes escape; else they are read as a blank
        return self.represent_scalar("tag:yaml.org,2002:str", text, style='"' if quoted else None)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # an override
        return True


_PlainRepresenter.add_representer(str, _PlainRepresenter.represent_text)


def write_yaml(path: Path, tree: Any, *, durable: bool = True) -> None:
    """Write plain mappings, lists and scalars in block style; `durable` as for `write_whole`.

    Raises:
        OSError: the disk is full or the folder cannot be written; the old file still stands.
    """
    try:
        text = block_text(tree, _quoted)
    except UnusualTreeError:
        text = emitted_text(tree)
    write_whole(path, text, durable=durable)


def emitted_text(tree: Any) -> str:
    """Give a tree as ruamel.yaml's own emitter writes it, whatever it holds; slowly."""
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.sort_base_mapping_type_on_output = False
    yaml.width = 10_000
    yaml.Representer = _PlainRepresenter
    text = io.StringIO()
    yaml.dump(tree, text)
    return text.getvalue()


@lru_cache(maxsize=4096)  # a run's configs have the same names, and mostly the same texts
def _quoted(text: str) -> str:
    return emitted_text({"a": text}).removeprefix("a: ").removesuffix("\n")
