"""`tune-cnn leaderboard`: the trials of one or several runs in one table, read from the truth."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console

from tune_cnn.results.display import line
from tune_cnn.results.leaderboard import Row, leaderboard_columns, leaderboard_rows
from tune_cnn.results.records import RunFolder, TrialRecord
from tune_cnn.results.tables import write_csv
from tune_cnn.search.screen import leaderboard_table, top_rows
from tune_cnn.search.study import Study
from tune_cnn.sections.search import SearchConfig
from tune_cnn.yaml_files import read_yaml

Run = tuple[str, str, list[TrialRecord]]


def show_leaderboard(runs: Sequence[Path], *, csv_file: Path | None, top: int, as_json: bool, console: Console) -> None:
    """Print the best trials, and write all of them to a CSV if asked to.

    Runs are ranked together only if they saw the same images and were judged by the same metric; else each group is
    ranked by itself, and that is said.

    Raises:
        RunFolderError: a folder holds no run.
    """
    groups = _groups(_read(path) for path in runs)
    several = len(runs) > 1
    rows = [row for group in groups.values() for row in _rows(group, named=several)]
    if csv_file is not None:
        write_csv(csv_file, leaderboard_columns(rows), rows)
    if as_json:
        console.print(json.dumps(rows), soft_wrap=True, markup=False, highlight=False)
        return
    if len(groups) > 1:
        console.print(
            line("These runs saw different images or were judged by different metrics: each group is ranked by itself.")
        )
    for (data, metric), group in groups.items():
        if len(groups) > 1:
            console.print(
                line(f"data {data[:12]}, {metric}: {', '.join(name for name, _, _ in group)}"), soft_wrap=True
            )
        shown = _shown(group, named=several)[:top]
        console.print(leaderboard_table(shown))
    if csv_file is not None:
        console.print(line(f"wrote {csv_file}"), soft_wrap=True)


def _read(path: Path) -> Run:
    folder = RunFolder(path)
    records = Study.read(folder.study, SearchConfig()).records()
    metric = read_yaml(folder.space).tree["search"]["metric"]
    return str(path), str(metric), records


def _groups(runs: Iterable[Run]) -> dict[tuple[str, str], list[Run]]:
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        data = next((record.data for record in run[2] if record.data), "")
        groups.setdefault((data, run[1]), []).append(run)
    return groups


def _rows(group: Sequence[Run], *, named: bool) -> list[Row]:
    """Give leaderboard rows of a group of runs, ranked together."""
    rows = [{"run": name, **row} if named else row for name, _, records in group for row in leaderboard_rows(records)]
    return _ranked_again(rows, "score")


def _shown(group: Sequence[Run], *, named: bool) -> list[Row]:
    rows = [
        {"run": Path(name).name, **row} if named else row for name, _, records in group for row in top_rows(records)
    ]
    return _ranked_again(rows, "score")


def _ranked_again(rows: list[Row], score: str) -> list[Row]:
    ordered = sorted(rows, key=lambda row: (row[score] is None, -(row[score] or 0.0)))
    return [{**row, "rank": rank if row[score] is not None else None} for rank, row in enumerate(ordered, start=1)]
