"""The cluster files of the project, filled in, and one with something wrong in it."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
AWS, LOCAL, JOB = "cluster.yaml", "cluster-local.yaml", "kubernetes/rayjob.yaml"
FILLED_IN = {
    "FILL-IN-CIDR": "203.0.113.7/32",
    "FILL-IN-BUCKET": "my-bucket",
    "FILL-IN-REGION": "eu-central-1",
    "FILL-IN-IMAGE": "ami-0123456789abcdef0",
    "FILL-IN-GROUP": "sg-0123456789abcdef0",
    "FILL-IN-HEAD": "gpu1.example.org",
    "FILL-IN-WORKER": "gpu2.example.org",
    "FILL-IN-USER": "ada",
    "FILL-IN-REGISTRY": "registry.example.org",
    "FILL-IN-CLAIM": "shared",
}


def line_of(kind: str, beginning: str) -> str:
    """The whole line of a shipped file that begins so."""
    return next(line for line in filled_in(kind).splitlines(keepends=True) if line.strip().startswith(beginning))


@dataclass(frozen=True)
class MalformedCluster:
    """One replacement in a shipped file, and what its fault says."""

    id: str
    kind: str
    old: str
    new: str
    says: str
    above: int = 0
    """How many lines above the replacement the fault is laid: what is missing is laid to what it is missing from."""
    faults: int = 1

    @property
    def text(self) -> str:
        """The whole file; the replacement is made once."""
        good = filled_in(self.kind)
        assert self.old in good, self.old
        return good.replace(self.old, self.new, 1)

    @property
    def line(self) -> int | None:
        """The line of the fault; None where nothing is left of what was replaced."""
        if not self.new.strip():
            return None
        at = filled_in(self.kind).index(self.old) + len(self.new) - len(self.new.lstrip("\n"))
        return filled_in(self.kind).count("\n", 0, at) + 1 - self.above


def filled_in(kind: str) -> str:
    """A shipped file with all that has to be filled in."""
    text = (ROOT / kind).read_text()
    for placeholder, value in FILLED_IN.items():
        text = text.replace(placeholder, value)
    return text
