"""Every file of a run folder cut short, emptied, deleted, and with a bit turned over: what then do commands say?

Either a command does what it would have done, with the same numbers, or it says in a message what is wrong.
"""

import json
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from tests.chaos.ground import ONE_BY_ONE, Ground
from tests.chaos.outcome import Tables, complaint
from tests.chaos.processes import Order, run, start
from tune_cnn.results.records import RunFolder

_UNSCORED = "could not be scored on the test split"


@dataclass(frozen=True)
class Damage:
    """What is done to a file."""

    file: str
    """Relative to the run folder."""
    kind: str
    """`delete`, `cut` to a length, or `flip` the bit of a byte."""
    at: int = 0
    bit: int = 0

    def do(self, folder: Path) -> None:
        path = folder / self.file
        if self.kind == "delete":
            path.unlink()
            return
        data = bytearray(path.read_bytes())
        if self.kind == "cut":
            del data[self.at :]
        else:
            data[self.at] ^= 1 << self.bit
        path.write_bytes(data)

    def __str__(self) -> str:
        return f"{self.file}: {self.kind} at {self.at}" + (f", bit {self.bit}" if self.kind == "flip" else "")


@dataclass(frozen=True)
class Right:
    """What the commands say of an undamaged folder."""

    tables: Tables
    leaderboard: Any
    scores: Any


class Damaged:
    """A run folder, finished or interrupted, that is copied and damaged."""

    def __init__(self, ground: Ground, folder: Path, *, interrupted: bool, sabotage: str = "") -> None:
        folder.mkdir()
        self._ground, self._folder, self._sabotage = ground, folder, sabotage
        self._count = count()
        self.run = RunFolder(folder / "whole")
        self._make(interrupted=interrupted)
        copy = self._copy()
        leaderboard = self._json(self._ask(copy, ground.leaderboard(copy.path)))
        scores = self._json(self._ask(copy, ground.evaluate(copy.path)))
        code, said = self._ask(copy, ground.resume(copy.path))
        if code != 0:
            raise RuntimeError(f"the undamaged folder cannot be resumed: {said}")
        self.right = Right(Tables.of(copy), leaderboard, scores)

    def all(self, chance: random.Random, *, flips: int) -> Iterator[Damage]:
        """Every file, with some bits at random."""
        for path in sorted(self.run.path.rglob("*")):
            name = str(path.relative_to(self.run.path))
            if path.is_symlink() or not path.is_file():
                continue
            size = path.stat().st_size
            yield Damage(name, "delete")
            yield from (Damage(name, "cut", at) for at in sorted({0, size // 2, max(size - 1, 0)}) if at < size)
            for _ in range(flips if size else 0):
                yield Damage(name, "flip", chance.randrange(size), chance.randrange(8))

    def try_out(self, damage: Damage) -> str:
        """Damage a copy and run the commands on it; gives what is wrong, empty if nothing is."""
        copy = self._copy()
        damage.do(copy.path)
        wrong = (
            self._same(self._ask(copy, self._ground.leaderboard(copy.path)), self.right.leaderboard)
            or self._same(self._ask(copy, self._ground.evaluate(copy.path)), self.right.scores)
            or self._resumes(copy)
        )
        if wrong:
            return f"{damage}: {wrong}"
        shutil.rmtree(copy.path)
        return ""

    def _resumes(self, copy: RunFolder) -> str:
        code, said = self._ask(copy, self._ground.resume(copy.path))
        if code != 0:
            return complaint(code, said)
        if "Traceback" in said:
            return f"resume: a traceback: {said[-1500:]}"
        tables, right = Tables.of(copy), self.right.tables
        if _UNSCORED in said:
            tables, right = _unscored(tables), _unscored(right)
        unlike = tables.unlike(right)
        return f"resume, silently: {unlike}" if unlike else ""

    def _same(self, answer: tuple[int, str], right: Any) -> str:
        code, said = answer
        if code != 0:
            return complaint(code, said)
        found = self._json(answer)
        return "" if found == right else f"silently another answer: {json.dumps(found)[:1500]}"

    def _make(self, *, interrupted: bool) -> None:
        order = Order(
            self._ground.search(self.run.path, ONE_BY_ONE), self._folder / "make.out", self._folder / "make.trained"
        )
        one = start(order)
        if interrupted:
            while one.exit_code is None and not self.run.trial(4).last.exists():
                time.sleep(0.005)
            one.process.kill()
        if one.ended() not in (0, -9):
            raise RuntimeError(one.said)

    def _copy(self) -> RunFolder:
        copy = RunFolder(self._folder / f"copy-{next(self._count)}")
        shutil.copytree(self.run.path, copy.path, symlinks=True)
        return copy

    def _ask(self, copy: RunFolder, arguments: tuple[str, ...]) -> tuple[int, str]:
        out = copy.path.with_suffix(".out")
        return run(Order(arguments, out, out.with_suffix(".trained"), sabotage=self._sabotage))

    @staticmethod
    def _json(answer: tuple[int, str]) -> Any:
        return json.loads(answer[1])


def _unscored(tables: Tables) -> Tables:
    rows = ({name: value for name, value in row.items() if not name.startswith("test_")} for row in tables.leaderboard)
    return Tables(tuple(rows), tables.epochs, tables.finals)
