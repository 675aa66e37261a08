"""What an audit of a data set gives: facts, warnings, and a table of findings with one row each."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One doubtful thing; what does not apply stays empty. Paths are relative to the data root."""

    kind: str
    split: str = ""
    path: str = ""
    other_split: str = ""
    other_path: str = ""
    distance: int | None = None
    """Between near twins: differing bits of 256; 0 for exact copies."""
    label: str = ""
    other_label: str = ""

    def row(self) -> dict[str, Any]:
        """Give the finding by the names of `FINDING_COLUMNS`."""
        return dict(vars(self))


FINDING_COLUMNS = tuple(field.name for field in fields(Finding))


@dataclass(frozen=True)
class Audit:
    """What a look at a data set brought. `facts` are lines to know, `warnings` lines to act on, each with its id."""

    facts: tuple[str, ...] = ()
    warnings: tuple[tuple[str, str], ...] = ()
    findings: tuple[Finding, ...] = ()

    @classmethod
    def joined(cls, parts: Sequence["Audit"]) -> "Audit":
        """Put several looks together, in their order."""
        return cls(
            tuple(fact for part in parts for fact in part.facts),
            tuple(warning for part in parts for warning in part.warnings),
            tuple(finding for part in parts for finding in part.findings),
        )
