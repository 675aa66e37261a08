"""Frames of one video, by their names: seconds apart they look too different for near twins, and flatter alike."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from tune_cnn.data.findings import Audit, Finding
from tune_cnn.data.table import Row, Split, shown

# What labelling services append to names: a digest, and the suffix that the file had before.
_EXPORT = re.compile(r"(_(jpe?g|png|webp|bmp))?\.rf\.[0-9A-Za-z]+$")
_NUMBERED = re.compile(r"^(.*\d.*?\D)\d+\D*$")
_ORDER: tuple[Split, ...] = ("train", "val", "test")
_LARGEST_SHARE = 0.1


def audit_series(rows: Sequence[Row]) -> Audit:
    """Look for series of names, such as `IMG_8497_MOV-0` and `IMG_8497_MOV-3`, that stand in several splits.

    A series is what names have in common before their last number, if that holds a number itself: a camera counts its
    photographs by one number, frames are counted within a video. A series of more than a tenth of all images is none:
    there the first number is a year, or a resolution. Images whose groups are known are left out.
    """
    real = [row for row in rows if row.paint is None and row.group is None]
    members: dict[str, list[Row]] = {}
    for row in real:
        if (series := series_of(row.path)) is not None:
            members.setdefault(series, []).append(row)
    largest = max(2.0, _LARGEST_SHARE * len(real))
    torn = [
        (series, own) for series, own in members.items() if len(own) <= largest and len({row.split for row in own}) > 1
    ]
    findings = [_finding(row, own) for _, own in torn for row in own if row.split != _first_split(own)]
    if not findings:
        return Audit()
    counts = {split: sum(finding.split == split for finding in findings) for split in _ORDER}
    images = " and ".join(f"{number} {split} images" for split, number in counts.items() if number)
    text = (
        f"by their names, {images} are of series that have images in an earlier split too, such as "
        f"{shown(findings[0].path)} and {shown(findings[0].other_path)}; if these are frames of one video, "
        "draw the splits as fractions with splits.group, its pattern fitting what they have in common"
    )
    return Audit((), (("series", text),), tuple(findings))


def series_of(path: str) -> str | None:
    """What a name has in common with those that differ in its last number; None if no number is left then."""
    stem = PurePosixPath(path).stem
    match = _NUMBERED.match(_EXPORT.sub("", stem))
    return match[1] if match else None


def _first_split(rows: Sequence[Row]) -> Split:
    return min((row.split for row in rows), key=_ORDER.index)


def _finding(row: Row, series: Sequence[Row]) -> Finding:
    other = next(one for one in series if one.split == _first_split(series))
    return Finding("series_across_splits", row.split, row.path, other.split, other.path)
