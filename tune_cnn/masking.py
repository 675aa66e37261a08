"""Keep secrets out of what is shown, logged and kept: credentials in addresses, and tokens of the environment."""

import os
import re
from collections.abc import Mapping

_HIDDEN = "…"
# One slash, too: that is what a path makes of two. Two letters at least: one is a drive.
# A secret key of AWS may hold slashes; what stands behind a number and a slash is a path on a port.
_CREDENTIALS = re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]+:/{1,2})(?:[^\s/@'\"]+|[^\s/@:'\"]+:(?!\d+/)[^\s@'\"]+)@")
_BEARER = re.compile(r"(?i)\b(bearer )[\w.~+/=-]{8,}")
_PARAMETER = re.compile(
    r"(?i)([?&;](?:[\w-]*(?:signature|credential|token|secret|password)[\w-]*|sig|key)=)[^&;\s'\"]+"
)
_ASSIGNMENT = re.compile(r"(?i)\b(\w*(?:token|secret|password|access_key|api_key)=)[^\s'\"]+")
_SECRET_NAME = re.compile(r"(?i)(token|secret|password|access_key|api_key|credentials)$")
_SHORTEST = 8  # what is shorter would be found in every other word


def masked(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """Replace every secret in a text that others may come to read.

    Args:
        text: a command line, a message, a traceback.
        environment: where tokens stand by name; `RAY_AUTH_TOKEN`, `AWS_SECRET_ACCESS_KEY` and the like.
    """
    for value in _secrets(environment):
        text = text.replace(value, _HIDDEN)
    text = _BEARER.sub(rf"\1{_HIDDEN}", _CREDENTIALS.sub(rf"\1{_HIDDEN}@", text))
    text = _PARAMETER.sub(rf"\1{_HIDDEN}", text)
    return _ASSIGNMENT.sub(rf"\1{_HIDDEN}", text)


def names_a_secret(name: str) -> bool:
    """Whether what goes by a name, of a variable or in a file, is a token, a key or a password."""
    return bool(_SECRET_NAME.search(name))


def has_credentials(address: str) -> bool:
    """Whether a place is written as an address with a user or a key in it."""
    return bool(_CREDENTIALS.search(address) or _PARAMETER.search(address))


def _secrets(environment: Mapping[str, str]) -> list[str]:
    """The longest first, so that none is cut by another; paths of files with secrets are none themselves."""
    named = {value for name, value in environment.items() if _SECRET_NAME.search(name) and len(value) >= _SHORTEST}
    return sorted((value for value in named if not value.startswith(("/", "~"))), key=len, reverse=True)
