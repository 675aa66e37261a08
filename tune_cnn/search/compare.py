"""`tune-cnn leaderboard`: the trials of one or several runs in one table, read from the truth."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from tune_cnn.errors import InputError
from tune_cnn.results.display import line
from tune_cnn.results.leaderboard import Row, leaderboard_columns, leaderboard_rows
from tune_cnn.results.records import RunFolder, TrialFolder
from tune_cnn.search.best_per import best_of_each, glance, names_like, values_of
from tune_cnn.search.recorded import RecordedRun, read_recorded
from tune_cnn.search.screen import leaderboard_table, top_rows
from tune_cnn.sections.search import Metric


@dataclass(frozen=True)
class Group:
    """Runs that may be ranked together: on the same images in the same splits or folds, by the same metric."""

    data: str
    metric: str
    folds: str
    """How many, as text; empty for a single split."""
    runs: tuple[RecordedRun, ...]
    rows: tuple[Row, ...]
    """All columns, best first."""
    shown: tuple[Row, ...]
    """The same trials with the columns for a terminal."""


@dataclass(frozen=True)
class Comparison:
    """The trials of one or several runs."""

    groups: tuple[Group, ...]
    first: tuple[str, ...]
    """The columns that stand before all others."""
    left_out: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    """What has nothing to rank, by the reason."""

    @property
    def rows(self) -> list[Row]:
        """All rows, group after group."""
        return [row for group in self.groups for row in group.rows]

    @property
    def columns(self) -> list[str]:
        """The columns of all rows."""
        return [*self.first, *(name for name in leaderboard_columns(self.rows) if name not in self.first)]

    @property
    def warning(self) -> str:
        """Why the runs are not ranked together, and what is not ranked at all; empty if nothing is to be said."""
        causes = {
            "saw different images": {group.data for group in self.groups},
            "were judged by different metrics": {group.metric for group in self.groups},
            "were scored on different folds": {group.folds for group in self.groups},
        }
        told = " and ".join(cause for cause, values in causes.items() if len(values) > 1)
        lines = [f"warning: these runs {told}: each group is ranked by itself"] if told else []
        lines += [f"{reason}: {', '.join(map(str, paths))}" for reason, paths in self.left_out.items() if paths]
        return "\n".join(lines)


def compare_runs(paths: Sequence[Path], *, best_per: str | None = None) -> Comparison:
    """Put the trials of runs together, ranked within each group of runs that can be compared.

    Args:
        paths: run folders; what is no run is left out if there is one.
        best_per: the dotted name of a value, such as `model.backbone`; of the trials with the same value only the best
            is kept, with how many there were. None keeps all.

    Raises:
        RunFolderError: a folder holds a damaged run, or none of them holds a run.
        InputError: no trial has a value of the name `best_per`.
    """
    others = [path for path in paths if path.exists() and not RunFolder(path).study.exists()]
    if len(others) == len(paths):
        others = []  # the reader says what is wrong
    recorded = [read_recorded(path) for path in paths if path not in others]
    grouped: dict[tuple[str, Metric, str], list[RecordedRun]] = {}
    for run in (run for run in recorded if run.trials):
        data = next((record.data for record in run.trials if record.data), "")
        grouped.setdefault((data, run.search.ranked_by, str(run.space.get("folds") or "")), []).append(run)
    several = len(paths) > 1
    groups = tuple(_group(*key, runs, named=several, best_per=best_per) for key, runs in grouped.items())
    if best_per and groups and not any(group.rows for group in groups):
        raise InputError(f"--best-per {best_per}: no trial has such a value; {names_like(best_per)}")
    first = (*(("run", "metric") if several else ()), *((best_per, "trials") if best_per else ()))
    left_out = {
        "no trial has begun": [run.folder.path for run in recorded if not run.trials],
        "single trainings, which no search has judged": [path for path in others if _is_training(path)],
        "left out, as they hold no run of a search": [path for path in others if not _is_training(path)],
    }
    return Comparison(groups, first, left_out)


def _is_training(path: Path) -> bool:
    """Whether a folder is one that `tune-cnn train` wrote."""
    return TrialFolder(path).log.is_file()


def show_comparison(comparison: Comparison, console: Console, *, top: int) -> None:
    """Print the best rows of each group, under its name where there are several."""
    for group in comparison.groups:
        if len(comparison.groups) > 1:
            names = ", ".join(str(run.folder.path) for run in group.runs)
            console.print(line(f"data {group.data[:12]}, {group.metric}: {names}"), soft_wrap=True)
        console.print(leaderboard_table(group.shown[:top]))


def _group(
    data: str, metric: Metric, folds: str, runs: Sequence[RecordedRun], *, named: bool, best_per: str | None
) -> Group:
    pairs = [pair for run in runs for pair in _rows(run, named=named, best_per=best_per)]
    pairs.sort(key=lambda pair: (pair[0]["score"] is None, -(pair[0]["score"] or 0.0)))
    rows, shown = [row for row, _ in pairs], [short for _, short in pairs]
    if best_per:
        rows = best_of_each(rows, best_per)
        shown = [glance(row, best_per, metric) for row in rows]
    return Group(data, metric, folds, tuple(runs), _ranked(rows), _ranked(shown))


def _rows(run: RecordedRun, *, named: bool, best_per: str | None) -> Iterable[tuple[Row, Row]]:
    """Give each trial's row with all columns, and its short one."""
    values = values_of(run, best_per) if best_per else {}
    metric = run.search.ranked_by
    measures = run.search.measures
    for row, short in zip(leaderboard_rows(run.trials, measures), top_rows(run.trials, measures), strict=True):
        of_run, of_run_short = (
            ({"run": name, "metric": metric} if named else {}) for name in (str(run.folder.path), run.folder.path.name)
        )
        added = {best_per: values[row["trial"]]} if best_per and row["trial"] in values else {}
        yield {**of_run, **row, **added}, {**of_run_short, **short}


def _ranked(rows: Iterable[Row]) -> tuple[Row, ...]:
    ranks = enumerate(rows, start=1)
    return tuple({**row, "rank": rank if row["score"] is not None else None} for rank, row in ranks)
