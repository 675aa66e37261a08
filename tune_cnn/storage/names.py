"""Names of objects that may become files: below their folder, and nowhere else, whatever a storage says."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from tune_cnn.errors import StorageError

_ODD = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_MOST_TOLD = 5


def check_names(url: str, names: Iterable[str]) -> None:
    """Make sure that objects can be written as files below one folder.

    Raises:
        StorageError: some cannot; a line each for the first ones.
    """
    whole = list(names)
    folders = {str(parent) for name in whole for parent in PurePosixPath(name).parents}
    faults = [
        f"{url}: the object {name!r} {fault}; rename or delete it"
        for name in whole
        if (fault := _fault(name) or ("is the folder of others too" if name in folders else ""))
    ]
    if faults:
        more = len(faults) - _MOST_TOLD
        raise StorageError([*faults[:_MOST_TOLD], *([f"{url}: {more} more such objects"] if more > 0 else [])])


def _fault(name: str) -> str:
    parts = name.split("/")
    if not name or name.startswith("/"):
        return "has a name that begins with a slash, which would be a path from the root of the disk"
    if ".." in parts:
        return "leaves its folder by '..'"
    if "." in parts or "" in parts:
        return "has a part that is empty or '.'"
    if "\\" in name or _ODD.search(name):
        return "has control characters or a backslash in its name"
    return ""
