"""What became of a search, read from its folder, and what must hold of it whatever happened on the way."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.stub_trial import trained
from tune_cnn.results.records import RunFolder, TrialRecord
from tune_cnn.search.recorded import read_recorded

_TIMES = ("seconds", "memory", "ms_per")
Row = Mapping[str, str]


@dataclass(frozen=True)
class Tables:
    """The tables of a run, times aside."""

    leaderboard: tuple[Row, ...]
    epochs: tuple[Row, ...]
    finals: tuple[Row, ...]

    @classmethod
    def of(cls, run: RunFolder) -> "Tables":
        return cls(rows(run.leaderboard), rows(run.epochs), rows(run.finals) if run.finals.exists() else ())

    def unlike(self, other: "Tables") -> str:
        """Say in a line where two runs differ; empty if they do not."""
        for name in ("leaderboard", "epochs", "finals"):
            ours, theirs = getattr(self, name), getattr(other, name)
            if len(ours) != len(theirs):
                return f"{name}: {len(ours)} rows, but {len(theirs)} in the undisturbed run"
            for number, (one, two) in enumerate(zip(ours, theirs, strict=True), start=1):
                if one != two:
                    columns = [column for column in {**one, **two} if one.get(column) != two.get(column)]
                    told = ", ".join(f"{each} {one.get(each)!r} for {two.get(each)!r}" for each in columns)
                    return f"{name}, row {number} (trial {two.get('trial')}): {told}"
        return ""


def rows(file: Path) -> tuple[Row, ...]:
    """Read a table without the columns of times and memory."""
    with file.open(newline="", encoding="utf-8") as lines:
        return tuple(
            {name: value for name, value in row.items() if not any(time in name for time in _TIMES)}
            for row in csv.DictReader(lines)
        )


def finished(run: RunFolder) -> dict[int, TrialRecord]:
    """Read the trials that have ended from the truth; none where there is no study yet."""
    if not (run.study.exists() and run.space.exists()):
        return {}
    return {record.trial: record for record in read_recorded(run.path).trials if record.state != "running"}


def lost_or_changed(before: Mapping[int, TrialRecord], after: Mapping[int, TrialRecord]) -> list[str]:
    """Say of which finished trials something is lost or changed; scores on the test split come later."""
    return [
        f"trial {number} had ended as {_sum_up(record)}, now it is {_sum_up(after.get(number))}"
        for number, record in before.items()
        if _sum_up(record) != _sum_up(after.get(number))
    ]


def doubled(run: RunFolder) -> list[str]:
    """Say which trials stand in the tables twice."""
    numbers = [row["trial"] for row in rows(run.leaderboard)]
    keys = [(row["trial"], row["epoch"]) for row in rows(run.epochs)]
    twice = [f"trial {one} has {numbers.count(one)} rows" for one in dict.fromkeys(numbers) if numbers.count(one) > 1]
    return twice + [f"epoch {one} has {keys.count(one)} rows" for one in dict.fromkeys(keys) if keys.count(one) > 1]


def trained_too_often(file: Path, begun_by: Sequence[int]) -> list[str]:
    """Say which trials repeated more than one epoch after a kill, or left one out.

    Args:
        file: told of each epoch as it began.
        begun_by: the processes that worked on the run, in their order.
    """
    faults = []
    last: dict[str, tuple[int, int]] = {}
    for name, epoch, process in trained(file):
        before, by = last.get(name, (0, process))
        least = before if process != by else before + 1
        if not least <= epoch <= before + 1:
            faults.append(f"{name}: epoch {epoch} was trained after epoch {before}")
        if by in begun_by and process in begun_by and begun_by.index(process) < begun_by.index(by):
            faults.append(f"{name}: process {by} had been killed, and trained epoch {before} after {process} began")
        last[name] = (epoch, process)
    return faults


def complaint(code: int, said: str) -> str:
    """Say what is wrong with how a command ended that could not do what it was asked; empty if nothing is.

    It may end with 1 (disk or search) or 2 (input), in a few lines of words, and never with a traceback.
    """
    if "Traceback" in said:
        return f"a traceback: {said[said.index('Traceback') :][-1500:]}"
    if code not in (1, 2):
        return f"ended with {code}: {said[-500:]}"
    return "" if said.strip() else f"ended with {code} and no word"


def _sum_up(record: TrialRecord | None) -> str:
    if record is None:
        return "nowhere"
    epochs = [(epoch.epoch, epoch.score) for epoch in record.epochs]
    return f"{record.state} ({record.reason}) with {dict(record.values)} and {epochs}"
