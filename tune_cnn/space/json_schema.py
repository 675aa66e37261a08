"""The JSON Schema of space files, for editors: what `TrialConfig` takes, and searched values where they may stand."""

import ast
import inspect
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any

from tune_cnn.sections.base import Section
from tune_cnn.space.checks import SpaceFile
from tune_cnn.space.expressions import NOT_SEARCHED, NOT_WRITTEN

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]


def space_json_schema() -> Schema:
    """The JSON Schema (draft 2020-12) of a space file.

    Looser than `read_space` where a schema cannot follow: it does not check ranges against bounds.
    """
    whole = SpaceFile.model_json_schema(ref_template="#/$defs/{model}")
    definitions = {name: _described(name, schema) for name, schema in whole.pop("$defs").items()}
    whole = _described("TrialConfig", whole)
    whole["properties"] = {name: schema for name, schema in whole["properties"].items() if (name,) not in NOT_WRITTEN}
    del definitions["ModelConfig"]["properties"]["weights_file"]
    searchable = [name for name in whole["properties"] if (name,) not in NOT_SEARCHED]
    made: Schema = {}
    for name in sorted(_reached([whole["properties"][name] for name in searchable], definitions)):
        definitions[name] = _with_expressions(name, definitions[name], list(definitions[name]["properties"]), made)
    whole = _with_expressions("space", whole, searchable, made)
    whole["description"] = (
        "A space file of tune-cnn: the config of a trial, with a choice or range for what is searched."
    )
    return {
        "$schema": _DIALECT,
        "title": "tune-cnn space",
        **_plain_unions(whole),
        "$defs": _plain_unions({**definitions, **made}),
    }


def _described(name: str, schema: Schema) -> Schema:
    """The schema of a section with the docstrings of its fields as descriptions."""
    words = _field_docstrings().get(name, {})
    properties = {
        field: {**inner, "description": words[field]} if field in words else inner
        for field, inner in schema.get("properties", {}).items()
    }
    return {**schema, "properties": properties} if properties else schema


@cache
def _field_docstrings() -> dict[str, dict[str, str]]:
    """By class and field of the config: the text that stands below the field."""
    found: dict[str, dict[str, str]] = {}
    for section in _sections(Section):
        (body,) = (node.body for node in ast.parse(inspect.getsource(section)).body if isinstance(node, ast.ClassDef))
        for field, text in pairwise(body):
            match field, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                    found.setdefault(section.__name__, {})[name] = inspect.cleandoc(words)
    return found


def _sections(base: type[Section]) -> Iterator[type[Section]]:
    """Every kind of section there is."""
    for section in base.__subclasses__():
        if section.__module__.startswith(Section.__module__.partition(".")[0]):
            yield section
            yield from _sections(section)


def _reached(schemas: list[Schema], definitions: Schema) -> set[str]:
    """The sections that these schemas lead to."""
    found: set[str] = set()
    left = [name for schema in schemas for name in _references(schema)]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += _references(definitions[name])
    return found


def _references(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [name for inner in schema for name in _references(inner)]
    if not isinstance(schema, dict):
        return []
    own = [schema["$ref"].rpartition("/")[2]] if "$ref" in schema else []
    return own + [name for key, inner in schema.items() if key != "discriminator" for name in _references(inner)]


def _with_expressions(section: str, schema: Schema, names: list[str], made: Schema) -> Schema:
    """The schema of a section in which each of `names` may be searched; adds a definition per name to `made`."""
    properties = dict(schema["properties"])
    for name in names:
        key = f"{section}.{name}"
        made[key] = _searchable(f"#/$defs/{key}", _searchable_items(key, properties[name], made))
        about = {word: text for word, text in properties[name].items() if word in ("description", "default", "title")}
        properties[name] = {"$ref": f"#/$defs/{key}", **about}
    return {**schema, "properties": properties}


def _searchable_items(key: str, schema: Schema, made: Schema) -> Schema:
    """The schema of a value; the items of a list may be searched as well."""
    if "anyOf" in schema:
        return {**schema, "anyOf": [_searchable_items(key, branch, made) for branch in schema["anyOf"]]}
    if schema.get("type") != "array":
        return schema
    made[f"{key}.items"] = _searchable(f"#/$defs/{key}.items", schema["items"])
    return {**schema, "items": {"$ref": f"#/$defs/{key}.items"}}


def _searchable(reference: str, schema: Schema) -> Schema:
    """A value, or a choice of such values, or a range if the value may be a number."""
    plain = {word: inner for word, inner in schema.items() if word not in ("title", "default", "description")}
    # A searched kind may name the other kinds, too: which names go with which is for `read_space`.
    item: Schema = {"type": "string"} if "const" in plain else {"$ref": reference}
    choice: Schema = {
        "type": "object",
        "description": "Searched: one of these. Sections in it may search values of their own.",
        "properties": {
            "choice": {
                "anyOf": [
                    {"type": "array", "minItems": 1, "items": item},
                    {"type": "object", "minProperties": 1, "additionalProperties": item},
                ]
            },
            "default": True,
        },
        "required": ["choice"],
        "additionalProperties": False,
    }
    return {"anyOf": [plain, choice, *([_RANGE] if _takes_numbers(plain) else [])]}


_RANGE: Schema = {
    "type": "object",
    "description": "Searched: a number from low to high, whole if both are whole.",
    "properties": {
        "range": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
        "log": {"type": "boolean", "default": False},
        "step": {"type": "number", "exclusiveMinimum": 0},
        "default": {"type": "number"},
    },
    "required": ["range"],
    "additionalProperties": False,
}


def _takes_numbers(schema: Schema) -> bool:
    if "enum" in schema or "const" in schema:
        return False
    return schema.get("type") in ("number", "integer") or any(_takes_numbers(each) for each in schema.get("anyOf", []))


def _plain_unions(schema: Any) -> Any:
    """Sections of several kinds as `anyOf`, as with a searched `kind` several may hold; without pydantic's titles."""
    if isinstance(schema, list):
        return [_plain_unions(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: inner for key, inner in schema.items() if key != "discriminator" and not _is_title(key, inner)}
    return {("anyOf" if key == "oneOf" else key): _plain_unions(inner) for key, inner in kept.items()}


def _is_title(key: str, inner: Any) -> bool:
    return key == "title" and isinstance(inner, str)
