"""Drivers that are killed at random moments, resumed, killed again, and at last left alone."""

import random
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.ground import Ground, Kind
from tests.chaos.outcome import Tables, doubled, finished, lost_or_changed, trained_too_often
from tests.chaos.processes import Order, run, start
from tune_cnn.results.records import RunFolder

MOST_KILLS = 6
_SIGNALS = (signal.SIGKILL,) * 8 + (signal.SIGTERM, signal.SIGINT)
_CODES = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
_END_SECONDS = 10.0


@dataclass
class Figures:
    """What was done, and what went wrong."""

    kills: int = 0
    in_resume: int = 0
    by_signal: dict[str, int] = field(default_factory=dict)
    runs: int = 0
    finished_when_killed: int = 0
    """Trials that had ended when a kill came, added up over the kills."""
    faults: list[str] = field(default_factory=list)

    def add(self, *others: "Figures") -> None:
        for other in others:
            self.kills, self.in_resume = self.kills + other.kills, self.in_resume + other.in_resume
            self.runs += other.runs
            self.finished_when_killed += other.finished_when_killed
            self.faults += other.faults
            for name, kills in other.by_signal.items():
                self.by_signal[name] = self.by_signal.get(name, 0) + kills


@dataclass(frozen=True)
class Undisturbed:
    """A run that nobody disturbed."""

    tables: Tables
    seconds: float


def undisturbed(ground: Ground, kind: Kind, folder: Path) -> Undisturbed:
    """Run a search of a kind to its end.

    Raises:
        RuntimeError: that alone fails.
    """
    folder.mkdir(exist_ok=True)
    path = folder / f"{kind.name}-undisturbed"
    order = Order(ground.search(path, kind), path.with_suffix(".out"), path.with_suffix(".trained"), kind.slots)
    began = time.monotonic()
    code, said = run(order)
    if code != 0:
        raise RuntimeError(f"the undisturbed run of {kind.name} ended with {code}:\n{said}")
    return Undisturbed(Tables.of(RunFolder(path)), time.monotonic() - began)


def kill_and_resume(ground: Ground, kind: Kind, folder: Path, whole: Undisturbed, *, seed: int, kills: int) -> Figures:
    """Run one search to its end in spite of so many kills."""
    figures = Figures(runs=1)
    chance, path = random.Random(f"{kind.name} {seed}"), RunFolder(folder / f"{kind.name}-{seed}")
    where = f"{kind.name}, seed {seed}"
    processes: list[int] = []
    ended_before = finished(path)
    for number in range(kills + 1):
        resumes = path.space.exists() and chance.random() < 0.7
        command = ground.resume(path.path) if resumes else ground.search(path.path, kind)
        order = Order(command, path.path.with_suffix(".out"), path.path.with_suffix(".trained"), kind.slots)
        one = start(order)
        processes.append(one.process.pid or 0)
        by = chance.choice(_SIGNALS)
        if number < kills:
            time.sleep(chance.uniform(0.0, whole.seconds))
            one.send(by)
        try:
            code = one.ended(_END_SECONDS if number < kills else 120.0)
        except TimeoutError as error:
            figures.faults.append(f"{where}, start {number}: {error} after {by.name}")
            return figures
        if code != 0 and number < kills:
            _note_kill(figures, by, first=number == 0)
        if fault := _wrong_end(code, one.said, by if number < kills else None):
            figures.faults.append(f"{where}, start {number}: {fault}")
            return figures
        ended_now = finished(path)
        figures.faults += [f"{where}, start {number}: {one}" for one in lost_or_changed(ended_before, ended_now)]
        figures.finished_when_killed += len(ended_now)
        ended_before = ended_now
        if code == 0:
            break
    figures.faults += [f"{where}: {one}" for one in _at_the_end(path, kind, whole, processes)]
    return figures


def _note_kill(figures: Figures, by: signal.Signals, *, first: bool) -> None:
    figures.kills += 1
    figures.in_resume += not first
    figures.by_signal[by.name] = figures.by_signal.get(by.name, 0) + 1


def _wrong_end(code: int, said: str, by: signal.Signals | None) -> str:
    """Say what is wrong with how a driver ended; empty if nothing is."""
    if code == 0:
        return ""
    if by is None or code != _CODES[by]:
        return f"ended with {code}{f' after {by.name}' if by else ''}: {said[-2000:]}"
    if by is not signal.SIGKILL and "Traceback" in said:
        return f"a traceback after {by.name}: {said[-2000:]}"
    return ""


def _at_the_end(path: RunFolder, kind: Kind, whole: Undisturbed, processes: Sequence[int]) -> list[str]:
    tables = Tables.of(path)
    faults = doubled(path) + trained_too_often(path.path.with_suffix(".trained"), processes)
    if kind.always_alike:
        unlike = tables.unlike(whole.tables)
        return [*faults, unlike] if unlike else faults
    if len(tables.leaderboard) != len(whole.tables.leaderboard):
        faults.append(f"{len(tables.leaderboard)} trials, but {len(whole.tables.leaderboard)} were asked for")
    return faults + [
        f"trial {row['trial']} is {row['state']}" for row in tables.leaderboard if row["state"] in ("running", "failed")
    ]
