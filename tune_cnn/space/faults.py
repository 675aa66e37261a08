"""Faults of a space file: gathered from all checks, each told once, in the order of the lines."""

from dataclasses import dataclass, field

from tune_cnn.config_faults import Fault
from tune_cnn.config_shape import Location
from tune_cnn.errors import SpaceFileError
from tune_cnn.yaml_files import Document


@dataclass
class Faults:
    """The faults of one space file. Each has the place in the file it is laid to, its dotted name, and its text."""

    document: Document
    found: dict[tuple[Location, str], tuple[Fault, str]] = field(default_factory=dict)
    """By place and sameness: each fault, and when it comes about."""
    broken: set[Location] = field(default_factory=set)
    """Places that already have a fault which makes every other one there a mere consequence."""

    def add(self, source: Location, fault: Fault, *, again: str | None = None, when: str = "") -> None:
        """Keep a fault, unless it follows from another.

        Args:
            source: where in the space file the fault is laid to.
            fault: its location in the config (for the dotted name) and its text.
            again: what makes it the same fault as another at this source; its text if None.
            when: with which values it comes about, said behind its text; of faults that differ in this alone at one
                line of the file, or one word of the command line, the first is told.
        """
        if not any(source[:length] in self.broken for length in range(len(source) + 1)):
            self.found.setdefault((source, again if again is not None else fault.text), (fault, when))

    def breaks(self, source: Location, location: Location, text: str) -> None:
        """Keep a fault and drop all others at its place and below."""
        self.add(source, Fault(location, text))
        self.broken.add(source)

    def raise_any(self) -> None:
        """Raise all faults at once, by line.

        Raises:
            SpaceFileError: there is at least one.
        """
        if not self.found:
            return
        lines: dict[str, str] = {}
        for (source, _), (fault, when) in sorted(self.found.items(), key=lambda item: self.document.order(item[0][0])):
            lines.setdefault(fault.line(self.document.where(source)), when)
        raise SpaceFileError(text + when for text, when in lines.items())
