"""What a file of `ray up` copies from this machine to all others: it has to be there, and nobody's own keys."""

import re
from pathlib import Path

from tune_cnn.cluster.report import Report
from tune_cnn.config_shape import Location
from tune_cnn.results.display import place

_OWN_KEYS = re.compile(r"(^|/)\.(aws|ssh|kube|config/gcloud)(/|$)")
_WHEEL = re.compile(r"[\w.-]+-\*\.whl")
_HOW_TO_MAKE = {
    ".ray/auth_token": "`ray get-auth-token --generate` makes it",
    "dist": "`make dist` makes it",
}


def check_mounts(report: Report) -> None:
    """Note what `ray up`, called in this folder, would not find, and what should stay here."""
    mounts = report.section("file_mounts")
    if not any(str(remote).endswith(".ray/auth_token") for remote in mounts):
        text = "no token goes to the machines; write ~/.ray/auth_token: ~/.ray/auth_token"
        report.fault(("file_mounts",), text)
    for remote, local in mounts.items():
        at = ("file_mounts", remote)
        if _OWN_KEYS.search(str(local)):
            text = f"your own keys in {local} would lie on every machine; remove it, and give the machines their own"
            report.fault(at, text)
        elif isinstance(local, str) and not report.is_open(local):
            _check_is_here(report, at, local)


def _check_is_here(report: Report, at: Location, local: str) -> None:
    remote = str(at[-1])
    how = next((how for name, how in _HOW_TO_MAKE.items() if remote.endswith(f"/{name}")), "")
    try:
        found = Path(local).expanduser()
        is_here = found.exists()
    except (OSError, RuntimeError):  # too long a name; a user that there is not
        is_here = False
    if not is_here:
        here = "" if local.startswith(("/", "~")) else f" in {place(Path.cwd())}, where `ray up` would look as well"
        report.fault(at, f"{local}: no such file or folder{here}; {how or 'write one that is there'}")
        return
    for pattern in _wheels(report, remote):
        if found.is_dir() and not any(found.glob(pattern)):
            report.fault(at, f"{local}: holds no {pattern}, which setup_commands installs; {how or 'put one there'}")


def _wheels(report: Report, remote: str) -> set[str]:
    """The patterns of the wheels that commands install from a folder on the machines."""
    texts = (text for text in report.items("setup_commands") if isinstance(text, str))
    return {pattern for text in texts if remote in text for pattern in _WHEEL.findall(text)}
