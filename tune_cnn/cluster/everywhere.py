"""What is wrong in a cluster file of any kind: values still to be filled in, and secrets."""

import re
from collections.abc import Iterable, Mapping

from tune_cnn.cluster.report import Report
from tune_cnn.config_faults import shown
from tune_cnn.masking import names_a_secret
from tune_cnn.yaml_files import plain_scalar

_FILL_IN: Mapping[str, str] = {
    "ssh_cidr": "the addresses that SSH may come from, e.g. 203.0.113.7/32",
    "bucket_prefix": "the bucket and the prefix that the machines may use, e.g. my-bucket/tune-cnn",
    "region": "the region of your bucket, e.g. eu-central-1",
    "ImageId": "the image's id in your region, e.g. ami-0123456789abcdef0",
    "SecurityGroupIds": "the id of your own group, e.g. sg-0123456789abcdef0",
    "head_ip": "the name or address of the machine that leads",
    "worker_ips": "the names or addresses of the others, or [] for none",
    "ssh_user": "the user to log in as",
    "image": "the registry that the cluster pulls from",
    "claimName": "the name of a volume claim that many pods may write",
}
_ASSIGNMENT = re.compile(r"\b(\w+)=[\"']?(?![$~/])[^\s\"']")
_SECRET_ID = re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b|://[^/\s:@]+:[^/\s:@]+@")

# Texts in YAML 1.2, as everything else here reads it; truth values, numbers and dates in YAML 1.1, as Ray reads it, or
# the other way round.
_OTHERWISE = re.compile(
    r"(?i:yes|no|on|off)|[-+]?0[0-9_]+|[-+]?[0-9]+(:[0-5]?[0-9])+(\.[0-9]*)?|[-+]?[0-9]+_[0-9_]*"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}|0b[01]+|0o[0-7]+|[-+]?[0-9]+[eE][-+]?[0-9]+"
)


def check_everywhere(report: Report) -> None:
    """Note placeholders and secrets, wherever they stand."""
    for location, value in report.scalars():
        if not isinstance(value, str):
            continue
        if report.is_open(value):
            names = [part for part in location if isinstance(part, str)]
            report.settle(location, f"{shown(value)} is still to be filled in; write {_hint(names)}")
        named = names_a_secret(str(location[-1])) if location else False
        if (named and not value.startswith(("~", "/"))) or _holds_a_secret(value):
            # The value is not repeated: a terminal's scrollback and a CI's log are read by others.
            report.fault(location, "a secret stands in the file; write it to a file of mode 0600 and name that here")


def _holds_a_secret(text: str) -> bool:
    """Whether a text assigns a secret to a variable, or is one; what is read from a file or a variable is none."""
    return any(names_a_secret(name) for name in _ASSIGNMENT.findall(text)) or bool(_SECRET_ID.search(text))


def check_words(report: Report, words: Iterable[tuple[int, str]]) -> None:
    """Note what stands without quotes and means something else to Ray and Kubernetes than it does here.

    Args:
        report: the file.
        words: every unquoted word in it, with its line.
    """
    lines = report.document.lines
    doubtful = {(line, word) for line, word in words if _OTHERWISE.fullmatch(word)}
    for location, value in report.scalars():
        for line, word in doubtful:
            if lines.get(location) == line and value == plain_scalar(word):
                text = f"{word} is taken for something else by Ray (YAML 1.1); write it in quotes, or true or false"
                report.settle(location, text)


def _hint(names: list[str]) -> str:
    return next((_FILL_IN[name] for name in reversed(names) if name in _FILL_IN), "your own value in its place")
