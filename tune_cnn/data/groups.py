"""Which images belong together, by a pattern on their paths; what a column of a table says, its layout has read."""

import re
from dataclasses import replace
from pathlib import Path

from tune_cnn.data.table import Listing, shown
from tune_cnn.sections.data import Group


def name_groups(listing: Listing, group: Group | None, root: Path) -> None:
    """Give every image of a listing the group that a pattern finds in its path; nothing to do without a pattern.

    Images that the pattern does not fit are one fault of the listing.
    """
    if group is None or group.pattern is None or not listing.entries:
        return
    pattern = re.compile(group.pattern)
    listing.entries = [replace(entry, group=_matched(pattern, entry.file)) for entry in listing.entries]
    strangers = [entry.file for entry in listing.entries if entry.group is None]
    if strangers:
        how_many = f"{len(strangers)} of {len(listing.entries)} images do not fit"
        if len(strangers) == len(listing.entries):
            how_many = f"not one of {len(listing.entries)} images fits"
        listing.faults.append(
            f"{root}: splits.group.pattern: {how_many} {shown(group.pattern)}, such as {shown(strangers[0])}; "
            "write a pattern that is found in every path"
        )


def _matched(pattern: re.Pattern[str], path: str) -> str | None:
    """The first group of the first match, else the whole match; None without one, or if nothing stands there."""
    match = pattern.search(path)
    if match is None:
        return None
    name: str | None = match[1] if pattern.groups else match[0]
    return name or None
