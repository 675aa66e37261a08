"""Values that tell when they are no longer what was written.

SQLite notices a page that does not fit its tree, but not a number within it in which a bit has turned over: without a
seal, that is a wrong score in the table, and nobody knows.
"""

import json
import zlib
from typing import Any

_VALUE, _SEAL = "value", "crc32"


class BrokenSealError(Exception):
    """What stands at a place is not what was written there; the text names the place."""


def sealed(place: str, value: Any) -> dict[str, Any]:
    """Give plain data to keep at a place; `opened` makes sure that it is still the same, at the same place."""
    return {_VALUE: value, _SEAL: _seal(place, value)}


def opened(place: str, kept: Any) -> Any:
    """Give the value that was sealed.

    Raises:
        BrokenSealError: it is not what was written there.
    """
    if not isinstance(kept, dict) or kept.keys() != {_VALUE, _SEAL} or kept[_SEAL] != _seal(place, kept[_VALUE]):
        raise BrokenSealError(place)
    return kept[_VALUE]


def _seal(place: str, value: Any) -> int:
    return zlib.crc32(f"{place} {json.dumps(value, sort_keys=True)}".encode())
