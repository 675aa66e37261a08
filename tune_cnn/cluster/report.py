"""Look into a cluster file and note what is wrong with it: every fault at once, each with its line."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tune_cnn.config_faults import Fault, shown
from tune_cnn.config_shape import Location, nearest, value_at
from tune_cnn.yaml_files import Document

PLACEHOLDER = "FILL-IN"


@dataclass
class Report:
    """A cluster file and the faults found in it so far."""

    document: Document
    _faults: dict[tuple[Location, str], None] = field(default_factory=dict)
    _settled: set[Location] = field(default_factory=set)
    _meant: set[Location] = field(default_factory=set)

    def value(self, *location: str | int) -> Any:
        """What stands at a place; None where nothing does."""
        return value_at(self.document.tree, location)

    def section(self, *location: str | int) -> dict[str, Any]:
        """The names and values at a place; none where nothing stands, or something else (then it is a fault)."""
        found = self.value(*location)
        if found is not None and not isinstance(found, dict):
            self.settle(location, f"{shown(found)} is not a section; write names and values")
        return found if isinstance(found, dict) else {}

    def items(self, *location: str | int) -> list[Any]:
        """The list at a place; empty where nothing stands, or something else (then it is a fault)."""
        found = self.value(*location)
        if found is not None and not isinstance(found, list):
            self.settle(location, f"{shown(found)} is not a list; write [{found}]")
        return found if isinstance(found, list) else []

    def needed(self, *location: str | int, example: str, why: str = "") -> Any:
        """What stands at a place where something has to; None where nothing does, or an empty text (a fault)."""
        found = self.value(*location)
        if found in (None, ""):
            stands = "missing" if found is None else "empty"
            reason = f"{stands}: {why}" if why else stands
            self.fault(location, f"{reason}; write {location[-1]}: {example}")
            return None
        return found

    def equal(self, wanted: Any, *location: str | int, why: str, example: str = "") -> None:
        """Note a fault unless a place holds `wanted`; `why` begins with what would happen otherwise."""
        found = self.value(*location)
        if found == wanted and type(found) is type(wanted):
            return
        stands = "missing" if found is None else shown(found)
        self.fault(location, f"{stands}: {why}; write {example or f'{location[-1]}: {_yaml(wanted)}'}")

    def fault(self, location: Location, text: str) -> None:
        """Note that something is wrong at a place, unless all has been said of it."""
        if not any(location[: len(settled)] == settled for settled in self._settled):
            self._faults[location, text] = None

    def unknown(self, location: Location, known: Sequence[str], otherwise: str = "") -> None:
        """Note a name that nobody reads; where another was meant, that one is not told to be missing as well.

        Args:
            location: of the name.
            known: the names that may stand there.
            otherwise: what to do if none of them is near; by default they are listed.
        """
        close = nearest(str(location[-1]), list(known))
        if close:
            self._meant.add((*location[:-1], close))
        otherwise = otherwise or f"known here: {', '.join(known)}"
        self.fault(location, f"unknown name; {f'did you mean {close!r}?' if close else otherwise}")

    def settle(self, location: Location, text: str) -> None:
        """Note a fault that makes every other one at this place, and within it, beside the point."""
        self.fault(location, text)
        self._settled.add(location)

    def lines(self) -> list[str]:
        """`file:line: dotted.name: what stood there; write … instead`, in the file's order."""
        misspelt = [meant for meant in self._meant if self.value(*meant) is None]
        told = [at for at in self._faults if not any(at[0][: len(meant)] == meant for meant in misspelt)]
        faults = sorted(told, key=lambda at: self.document.order(at[0]))
        return [Fault(location, text).line(self.document.where(location)) for location, text in faults]

    @staticmethod
    def is_open(value: Any) -> bool:
        """Whether a value is still to be filled in."""
        return isinstance(value, str) and PLACEHOLDER in value

    def scalars(self) -> Iterator[tuple[Location, Any]]:
        """Every value that is neither section nor list, with its place."""
        yield from _scalars((), self.document.tree)


def words(text: str) -> tuple[str, ...]:
    """Names set apart by spaces."""
    return tuple(text.split())


def _scalars(location: Location, value: Any) -> Iterator[tuple[Location, Any]]:
    if isinstance(value, dict):
        for name, inside in value.items():
            yield from _scalars((*location, name), inside)
    elif isinstance(value, list):
        for position, inside in enumerate(value):
            yield from _scalars((*location, position), inside)
    else:
        yield location, value


def _yaml(value: Any) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
