"""Every write, sync and rename of a small search, struck one by one: killed there, the disk full or broken, the power
cut. Then the search is resumed, and its tables must be those of an undisturbed run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from tests.chaos.failpoints import CAN_FAIL, DISK_FAULTS, NOWHERE, Fault, FaultKind
from tests.chaos.ground import Ground, Kind
from tests.chaos.kills import undisturbed
from tests.chaos.outcome import Tables, complaint, doubled, finished, lost_or_changed
from tests.chaos.processes import Order, run
from tune_cnn.errors import RunFolderError
from tune_cnn.results.records import RunFolder

SMALL = Kind(
    "small", ("search.trials=2", "training.epochs=3", "search.random_trials=2", "search.keep=1", "search.finals.top=1")
)
_ALL = (*CAN_FAIL, "unlink")
_CHANGES = ("write", "rename", "commit")
_MATTERS = {"kill": _ALL, "full": CAN_FAIL, "broken": CAN_FAIL, "power": _CHANGES, "power-names": _CHANGES}
_LINES = 6
KINDS: tuple[FaultKind, ...] = ("kill", "full", "broken", "power", "power-names")


@dataclass(frozen=True)
class Struck:
    """A point and what happens there."""

    at: int
    kind: FaultKind
    what: str
    file: str


class Points:
    """All points of the small search."""

    def __init__(self, ground: Ground, folder: Path, *, sabotage: str = "") -> None:
        self._ground, self._folder, self._sabotage = ground, folder, sabotage
        folder.mkdir(exist_ok=True)
        self._whole = undisturbed(ground, SMALL, folder)
        self.names = self._listed()

    def all(self, kinds: Sequence[FaultKind] = KINDS, *, every_time: bool = False) -> list[Struck]:
        """Every way through the package to a point, with everything that can happen there.

        Only what takes room or waits for the disk can fail; what a power cut leaves changes only with what is written,
        renamed or committed.

        Args:
            kinds: of faults.
            every_time: whether each way is struck whenever it is gone, not the first time alone.
        """
        firsts = {way: number for number, way in reversed([*enumerate(map(_way, self.names))])}
        chosen = range(len(self.names)) if every_time else sorted(firsts.values())
        named = ((number, *_what_and_file(self.names[number])) for number in chosen)
        return [
            Struck(number, kind, what, file) for number, what, file in named for kind in kinds if what in _MATTERS[kind]
        ]

    def strike(self, struck: Struck) -> str:
        """Run the search into a fault, and again without; gives what did not hold, empty if all did."""
        path = RunFolder(self._folder / f"{struck.at:04d}-{struck.kind}" / "run")
        path.path.parent.mkdir()
        fault = Fault(struck.at, struck.kind, path.path)
        code, said = run(self._order(path, fault))
        if wrong := self._wrong(struck, path, code, said):
            return f"point {struck.at} ({struck.what} {struck.file}), {struck.kind}: {wrong}"
        rmtree(path.path.parent)
        return ""

    def _wrong(self, struck: Struck, path: RunFolder, code: int, said: str) -> str:
        if struck.kind not in DISK_FAULTS and code != -9:
            return f"was not reached: ended with {code}: {said[-1500:]}"
        if struck.kind in DISK_FAULTS and code != 0 and (wrong := complaint(code, said)):
            return wrong
        try:
            before = finished(path)
        except RunFolderError as error:
            return f"what was finished cannot be read any more: {error}"
        code, said = run(self._order(path, None))
        if code != 0:
            return f"cannot be resumed, ended with {code}: {said[-1500:]}"
        faults = lost_or_changed(before, finished(path)) + doubled(path)
        unlike = Tables.of(path).unlike(self._whole.tables)
        return "; ".join([*faults, unlike] if unlike else faults)

    def _listed(self) -> list[str]:
        names, path = self._folder / "points.txt", RunFolder(self._folder / "listed" / "run")
        path.path.parent.mkdir()
        code, said = run(self._order(path, Fault(NOWHERE, "kill", path.path, names)))
        if code != 0:
            raise RuntimeError(f"the search to list the points of ended with {code}:\n{said}")
        return names.read_text().splitlines()

    def _order(self, path: RunFolder, fault: Fault | None) -> Order:
        resumes = fault is None and path.run.exists() and path.space.exists()
        command = self._ground.resume(path.path) if resumes else self._ground.search(path.path, SMALL)
        out = path.path.with_suffix(".out")
        return Order(command, out, out.with_suffix(".trained"), fault=fault, sabotage=self._sabotage)


def _what_and_file(name: str) -> tuple[str, str]:
    what, _, rest = name.partition(" ")
    return what, rest.rpartition(" ")[0]


def _way(name: str) -> tuple[str, ...]:
    """What is done, and the innermost lines of the package on the way to it."""
    return (name.partition(" ")[0], *name.rpartition(" ")[2].split("<")[:_LINES])
