"""Addresses of storages, such as `s3://bucket/prefix`, as text: told from paths and looked over."""

import re
from pathlib import Path

from tune_cnn.masking import has_credentials

SCHEMES = ("s3", "gs", "memory")
"""Of storages; `memory` is a place in this process, for tests."""
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://(?P<place>.*)", re.DOTALL)
_ODD = re.compile(r"[\x00-\x20\x7f?#*\[\]\\]")


def is_url(place: str | Path) -> bool:
    """Whether a place is written as an address, not as a path."""
    return isinstance(place, str) and _URL.fullmatch(place) is not None


def url_fault(url: str) -> str:
    """Say in half a line what is wrong with an address; empty if nothing is, as far as one sees without asking it."""
    found = _URL.fullmatch(url)
    if found is None:
        return "is no address; write s3://BUCKET/PREFIX or gs://BUCKET/PREFIX"
    if has_credentials(url):
        return (
            "has credentials in it, which logs and files would keep; write it without, and give them by the environment"
        )
    if found["scheme"] not in SCHEMES:
        return (
            f"is an address of the kind {found['scheme']!r}; write s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or a folder"
        )
    parts = found["place"].rstrip("/").split("/")
    if not parts[0]:
        return f"names no bucket; write {found['scheme']}://BUCKET/PREFIX"
    if any(part in {"", ".", ".."} or _ODD.search(part) for part in parts):
        return "has a part that is empty, '.' or '..', or odd letters; write plain names between single slashes"
    return ""


def absolute(place: str | Path) -> str:
    """Give an address as it is, without a slash at its end, or a path from the root of the disk."""
    if is_url(place):
        return str(place).rstrip("/")
    return str(Path(place).expanduser().absolute())
