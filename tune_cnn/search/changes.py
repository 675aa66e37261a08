"""What a call on a run folder finds changed since the search began, and what to do: space, images, versions."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tune_cnn.data.dataset import ImageData
from tune_cnn.errors import RunFolderError, SpaceFileError
from tune_cnn.results.records import RunFolder
from tune_cnn.search.commands import extend_command, new_run_command, resume_command
from tune_cnn.search.run_facts import FORMAT, RunFacts
from tune_cnn.space.expressions import is_expression
from tune_cnn.space.schema import NOT_IN_DIGEST, Space, read_space

_MOST_DIFFERENCES = 20
_MOST_LETTERS = 200  # of one value
_MUST_AGREE = ("optuna", "torch")
"""Packages whose first number must be the same: study.db is laid out by the one, the state of trials by the other."""
_NOT_THERE = object()


@dataclass(frozen=True)
class Asked:
    """How a call came to its space."""

    extend: bool = False
    """Whether it may be another one than the run has."""
    words: tuple[str, ...] = ()
    """What `tune-cnn extend RUN --trials N` is to be followed by for the same space."""


def is_same_space(run: RunFolder, before: RunFacts, space: Space, *, version: str) -> bool:
    """Whether a space is that of a run, as this version of tune-cnn reads the two: a later one may know more settings.

    Args:
        run: the run.
        before: what it says of itself.
        space: to be compared.
        version: of this tune-cnn.
    """
    if before.space_digest == space.digest():
        return True
    if before.latest.versions.get("tune-cnn") == version:
        return False
    try:
        return read_space(run.space).digest() == space.digest()
    except SpaceFileError:
        return False


def refuse_space(run: RunFolder, space: Space, asked: Asked) -> RunFolderError:
    """Make the error that says how a space differs from that of a run, and which commands go on."""
    try:
        before: Mapping[str, Any] = read_space(run.space).canonical()
    except SpaceFileError as error:
        return RunFolderError(
            [f"{run.path}: holds another search, and its own space cannot be read:", *error.faults, _OTHER_NAME]
        )
    found = space_differences(before, space.canonical())
    if not found:
        return RunFolderError(f"{run.space}: was changed since the last call; bring it back from a copy")
    trials = int(before["search"]["trials"]) + space.search.trials
    return RunFolderError(
        [
            f"{run.path}: holds another search, its space differs from this one:",
            *(f"  {text}" for text in found[:_MOST_DIFFERENCES]),
            *([f"  and {len(found) - _MOST_DIFFERENCES} more"] if len(found) > _MOST_DIFFERENCES else []),
            f"to go on with the space it has: {resume_command(run.path)}",
            f"to add trials of this one: {extend_command(run.path, trials)} {shlex.join(asked.words)}",
            _OTHER_NAME,
        ]
    )


_OTHER_NAME = "for a run of its own: write --name OTHER"


def space_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name each place at which two spaces differ so much that their searches are two; empty if at none.

    Args:
        before: a space as plain data, `Space.canonical`.
        now: another.

    Returns:
        For each a line with the dotted name and both values.
    """
    old, new = dict(_leaves(before)), dict(_leaves(now))
    names = [name for name in {**old, **new} if not _may_differ(name)]
    pairs = ((name, old.get(name, _NOT_THERE), new.get(name, _NOT_THERE)) for name in names)
    return [f"{name}: {_text(one)} then, {_text(other)} now" for name, one, other in pairs if one != other]


def check_images(run: RunFolder, before: RunFacts, data: ImageData) -> None:
    """Make sure that a run goes on with the images it began with.

    Raises:
        RunFolderError: they are others; with what is known of the difference.
    """
    if before.data == data.fingerprint:
        return
    found = _image_differences(before, image_counts(data), data.classes)
    raise RunFolderError(
        [
            f"{run.path}: was searched on other images (fingerprint {before.data[:12]}, now {data.fingerprint[:12]}):",
            *(f"  {text}" for text in found),
            f"bring back the images that it began with and go on, or begin a new run: {new_run_command(run.path)}",
        ]
    )


def image_counts(data: ImageData) -> dict[str, int]:
    """Count the images by split."""
    return {name: len(split.labels) for name, split in data.splits.items()}


def count_differences(before: RunFacts, counts: Mapping[str, int]) -> list[str]:
    """Give a line for each split that has another number of images than a run began with; `counts` are of now."""
    pairs = {split: (before.images.get(split, 0), counts.get(split, 0)) for split in {**before.images, **counts}}
    return [f"{split}: {then} images then, {now} now" for split, (then, now) in pairs.items() if then != now]


def check_versions(run: RunFolder, before: RunFacts, now: Mapping[str, str]) -> str:
    """Make sure that this program can go on with what another version began; both versions by package.

    Returns:
        What has changed and may change scores, in a line; empty if nothing.

    Raises:
        RunFolderError: it cannot.
    """
    if before.format > FORMAT:
        raise RunFolderError(
            f"{run.run}: was written by tune-cnn {before.latest.versions.get('tune-cnn', '')} in format "
            f"{before.format}, and this one, {now['tune-cnn']}, reads {FORMAT}; install that version, or begin a new "
            f"run: {new_run_command(run.path)}"
        )
    then = before.latest.versions
    changed = {name: (then[name], now[name]) for name in then if name in now and then[name] != now[name]}
    foreign = {name: changed[name] for name in _MUST_AGREE if name in changed and _differ_first(*changed[name])}
    if foreign:
        wanted = shlex.join(["pip", "install", *(f"{name}=={old}" for name, (old, _) in foreign.items())])
        raise RunFolderError(
            f"{run.path}: was searched with {_changes_text(foreign)}: its trials cannot go on as they began; "
            f"{wanted}, or begin a new run: {new_run_command(run.path)}"
        )
    return f"since the last call: {_changes_text(changed)}; scores may come out otherwise" if changed else ""


def _image_differences(before: RunFacts, counts: Mapping[str, int], classes: Sequence[str]) -> Iterator[str]:
    if not before.images:
        return
    differ = count_differences(before, counts)
    yield from differ
    same = not differ
    for name in sorted({*before.classes} ^ {*classes}):
        same = False
        yield f"class {name}: {'is gone' if name in before.classes else 'was not there then'}"
    if same:
        yield "as many images of the same classes, but some have another content, label or split"


def _changes_text(changed: Mapping[str, tuple[str, str]]) -> str:
    return ", ".join(f"{name} {then} then, {now} now" for name, (then, now) in changed.items())


def _differ_first(one: str, other: str) -> bool:
    return one.partition(".")[0] != other.partition(".")[0]


def _may_differ(name: str) -> bool:
    first, _, rest = name.partition(".")
    return name == "data.root" or (first == "search" and rest.partition(".")[0] in NOT_IN_DIGEST)


def _leaves(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Give what stands at the ends of a space's sections, a searched value as a whole."""
    if not isinstance(tree, dict) or not tree or is_expression(tree):
        yield name, tree
        return
    for part, inner in tree.items():
        yield from _leaves(inner, f"{name}.{part}" if name else str(part))


def _text(value: Any) -> str:
    text = "not written" if value is _NOT_THERE else _flow(value)
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}…"


def _flow(value: Any) -> str:
    """Write a value as one would in a space file, in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_flow(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return value if isinstance(value, str) else json.dumps(value)
