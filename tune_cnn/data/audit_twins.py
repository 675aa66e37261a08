"""Copies and near twins: across splits they flatter the score, under two labels one of them is wrong."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tune_cnn.data.findings import Audit, Finding
from tune_cnn.data.sketch import Sketches
from tune_cnn.data.table import Row, Split, shown
from tune_cnn.data.twins import nearest_twins

MOST_IMAGES = 50_000
"""With more, near twins are not looked for: the time grows with the square, half a minute for as many."""

_LEAKS: tuple[tuple[Split, Split], ...] = (("val", "train"), ("test", "train"), ("test", "val"))
_FLATTERY = {"train": "they flatter its score", "val": "its score is not independent of validation"}
_NOT_LOOKED_AT = -1


@dataclass(frozen=True)
class Look:
    """What is compared: N rows with their labels by name ('' where images have none), digests and (N, B) sketches."""

    rows: Sequence[Row]
    labels: Sequence[str]
    sha256: Sequence[str]
    sketches: Sketches


@dataclass(frozen=True)
class _Pair:
    """An image and its nearest twin, both as places in the look; `distance` in bits."""

    place: int
    other: int
    distance: int
    copy: bool


def audit_twins(look: Look) -> Audit:
    """Look for copies and near twins in other splits and under other labels.

    Each image of validation and test is reported with its nearest twin in the splits before it, each pair of twins of
    different labels once. Synthetic images are left out: they are twins of what they were made from.
    """
    real = np.array([place for place, row in enumerate(look.rows) if row.paint is None], np.int64)
    by_split = {split: real[[look.rows[place].split == split for place in real]] for split in ("train", "val", "test")}
    parts = [_leak(look, split, other, by_split) for split, other in _LEAKS if len(by_split[split])]
    if len(set(look.labels)) > 1:
        parts.append(_clashes(look, real))
    facts = [f"more than {MOST_IMAGES} images: near twins were not looked for"] if len(real) > MOST_IMAGES else []
    return Audit.joined([Audit(tuple(facts)), *parts])


def _leak(look: Look, split: Split, other: Split, by_split: dict[str, npt.NDArray[np.int64]]) -> Audit:
    pairs = list(_pairs(look, by_split[split], by_split[other], other_label=False))
    if not pairs:
        return Audit()
    copies = sum(pair.copy for pair in pairs)
    nearest = min(pairs, key=lambda pair: pair.distance)
    text = (
        f"{len(pairs)} of {len(by_split[split])} {split} images have a near twin in {other}"
        f"{_copies_among(copies)}, such as {_named(look, nearest)}; {_FLATTERY[other]}; "
        "splits.group keeps such images on one side of a draw"
    )
    kinds = ("near_twin_across_splits", "copy_across_splits")
    return Audit((), (("near-twins", text),), tuple(_finding(look, pair, kinds[pair.copy]) for pair in pairs))


def _clashes(look: Look, real: npt.NDArray[np.int64]) -> Audit:
    found = {tuple(sorted((pair.place, pair.other))): pair for pair in _pairs(look, real, real, other_label=True)}
    if not found:
        return Audit()
    pairs = sorted(found.values(), key=lambda pair: (not pair.copy, pair.distance, pair.place))
    text = (
        f"{len(pairs)} pairs of near twins have two labels{_copies_among(sum(pair.copy for pair in pairs))}, "
        f"such as {_named(look, pairs[0])}; is one of them wrong?"
    )
    kinds = ("near_twin_of_other_label", "copy_of_other_label")
    return Audit((), (("labels", text),), tuple(_finding(look, pair, kinds[pair.copy]) for pair in pairs))


def _pairs(
    look: Look, places: npt.NDArray[np.int64], pool: npt.NDArray[np.int64], *, other_label: bool
) -> Iterator[_Pair]:
    """Give each of `places` its exact copy in the pool, else its nearest twin; nothing for those that have neither."""
    copies = _copies(look, places, pool, other_label=other_label)
    numbers = {label: number for number, label in enumerate(dict.fromkeys(look.labels))}
    labels = np.array([numbers[label] for label in look.labels], np.int64)
    if len(look.rows) > MOST_IMAGES:
        twins, distances = np.full((2, len(places)), _NOT_LOOKED_AT, np.int64)
    else:
        nearest = nearest_twins(
            look.sketches[places],
            look.sketches[pool],
            query_labels=labels[places] if other_label else None,
            pool_labels=labels[pool] if other_label else None,
        )
        twins, distances = nearest.places, nearest.distances
    for place, twin, distance in zip(places.tolist(), twins.tolist(), distances.tolist(), strict=True):
        if place in copies:
            yield _Pair(place, copies[place], 0, copy=True)
        elif twin >= 0:
            yield _Pair(place, int(pool[twin]), distance, copy=False)


def _copies(
    look: Look, places: npt.NDArray[np.int64], pool: npt.NDArray[np.int64], *, other_label: bool
) -> dict[int, int]:
    """By place: the first image of the pool with the same content, if `other_label` of another label."""
    first: dict[str, dict[str, int]] = {}
    for place in pool.tolist():
        first.setdefault(look.sha256[place], {}).setdefault(look.labels[place], place)
    found = {}
    for place in places.tolist():
        same = first.get(look.sha256[place], {})
        wanted = [other for label, other in same.items() if not other_label or label != look.labels[place]]
        if wanted:
            found[place] = min(wanted)
    return found


def _copies_among(copies: int) -> str:
    return f" ({copies} of them an exact copy)" if copies else ""


def _named(look: Look, pair: _Pair) -> str:
    return f"{shown(look.rows[pair.place].path)} and {shown(look.rows[pair.other].path)}"


def _finding(look: Look, pair: _Pair, kind: str) -> Finding:
    row, other = look.rows[pair.place], look.rows[pair.other]
    labels = look.labels[pair.place], look.labels[pair.other]
    return Finding(kind, row.split, row.path, other.split, other.path, pair.distance, *labels)
