"""The token that Ray's nodes know each other by: where it lies, and that its owner alone can read it."""

import os
import secrets
import stat
import tempfile
from contextlib import suppress
from pathlib import Path


def token_file() -> Path:
    """Where Ray looks for the token, whether it is there or not."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")


def has_token() -> bool:
    """Whether Ray would find a token."""
    return bool(os.environ.get("RAY_AUTH_TOKEN")) or token_file().is_file()


def keep_private() -> None:
    """Take from the group and all others what they may do with the token file, if there is one.

    Raises:
        OSError: it is another user's.
    """
    file = token_file()
    if file.is_file() and stat.S_IMODE(file.stat().st_mode) & 0o077:
        file.chmod(0o600)


def make_token() -> None:
    """Make a token for a Ray of this machine where Ray would: it would leave the file readable for everyone.

    Nothing is done where there is a token, or where the user wants none.

    Raises:
        OSError: the folder cannot be written.
    """
    file = token_file()
    if has_token() or os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".auth_token.", dir=file.parent)  # readable by its owner alone
    part = Path(name)
    try:
        with os.fdopen(handle, "w") as out:
            out.write(secrets.token_hex(32))
        with suppress(FileExistsError):  # another search was faster: its token is as good
            file.hardlink_to(part)  # and not a rename, which would take away the token that a Ray already has
    finally:
        part.unlink()
