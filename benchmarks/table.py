"""The table of the benchmark: rows with a target each, and what the whole searches leave of the floor."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Row:
    """One figure and what it is held against."""

    workload: str
    measure: str
    ours: str
    plain: str
    """Empty where the plain program has no such figure."""
    figure: float
    unit: str
    """What follows the figure: `x` for a ratio, `s`, `ms`, `%`."""
    direction: Literal["≥", "≤"]
    target: float

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        return self.figure >= self.target if self.direction == "≥" else self.figure <= self.target

    def cells(self) -> tuple[str, ...]:
        """Give the cells of the printed table."""
        figure = f"{self.figure:.3g} {self.unit}"
        target = f"{self.direction} {self.target:g} {self.unit}"
        return self.workload, self.measure, self.ours, self.plain, figure, target, "yes" if self.met else "NO"


HEAD = ("workload", "measure", "tune-cnn", "plain", "figure", "target", "met")


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Give a table that reads well as text too: its columns are padded to equal width."""
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return "\n".join([line(head), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(line, rows)])


def section(facts: dict[str, Any], rows: Sequence[Row], searches: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    """Give one measurement as it stands in RESULTS.md."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    head = [
        f"## {facts['date']}, {facts['machine']}, {facts['device']}",
        "",
        f"Commit {facts['commit']}, Python {facts['python']}, {versions}; load average {facts['load_average']} before.",
        "",
        markdown(HEAD, [row.cells() for row in rows]),
    ]
    if searches:
        head += ["", markdown(SEARCH_HEAD, searches)]
    return "\n".join([*head, "", *(f"- {note}" for note in notes)]) + "\n"


SEARCH_HEAD = ("search", "size", "scores", "floor", "achieved", "efficiency")
