"""What a search shows: a header, a live table on a terminal or plain lines in a pipe, and the end of the matter."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live as LiveDisplay
from rich.table import Table

from tune_cnn.results.display import clock_text, line
from tune_cnn.results.finals import Final
from tune_cnn.results.leaderboard import leaderboard_rows, ranked
from tune_cnn.results.records import EpochRecord, TrialRecord
from tune_cnn.search.session import SearchSession

_LEAST_SECONDS_SHOWN = 0.5
"""What is less would be shown as none."""


class Screen:
    """Everything a search prints goes through here; to a terminal as a table that moves, else as lines that stay."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._session: SearchSession | None = None

    def lines(self, facts: Mapping[str, str]) -> None:
        """Print a header of names and facts."""
        width = max(map(len, facts), default=0)
        for name, fact in facts.items():
            self.console.print(line(f"{name:<{width}}  {fact}"), soft_wrap=True)

    def note(self, text: str) -> None:
        """Print a line that stays."""
        self.console.print(line(text), soft_wrap=True)

    def event(self, text: str) -> None:
        """Print a line as it happens; on a terminal the live table shows trials that begin already."""
        if not self.console.is_terminal:
            self.console.print(line(text + self._standing()), soft_wrap=True)
        elif not text.endswith("begins"):
            self.console.print(line(text), soft_wrap=True)

    @contextmanager
    def watching(self, session: SearchSession) -> Iterator[None]:
        """Show the session while the block runs."""
        self._session = session
        if not self.console.is_terminal:
            yield
            return
        with LiveDisplay(
            console=self.console, get_renderable=lambda: live_view(session), refresh_per_second=2, transient=True
        ):
            yield

    def _standing(self) -> str:
        session = self._session
        if session is None:
            return ""
        ended = sum(record.state != "running" for record in list(session.records.values()))
        time = f"{clock_text(session.budget.elapsed_seconds)}{_eta_text(session)}"
        return f"  [{ended}/{session.space.search.trials}, {time}]"


def live_view(session: SearchSession) -> Group:
    """Give the running trials and one line of standing."""
    table = Table(box=None, pad_edge=False)
    for column in ("trial", "epoch", "score", "best", "values"):
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    for live in list(session.running.values()):
        last = live.epochs[-1] if live.epochs else None
        score, best = (f"{last.score:.4f}", f"{live.best_score:.4f}") if last else ("", "")
        values = session.records[live.job.number].values
        row = (
            str(live.job.number),
            f"{len(live.epochs)}/{live.job.config.training.epochs}",
            score,
            best,
            values_text(values),
        )
        table.add_row(*map(line, row))
    return Group(table, line(standing(session)))


def standing(session: SearchSession) -> str:
    """Say in one line how far the search is."""
    records = list(session.records.values())
    count = {state: sum(record.state == state for record in records) for state in ("complete", "stopped", "failed")}
    best = next((record for record in ranked(records) if record.best), None)
    best_text = f"best {best.best.score:.4f} (trial {best.trial})" if best and best.best else "no score yet"
    counts = ", ".join(f"{number} {state}" for state, number in count.items())
    time = f"{clock_text(session.budget.elapsed_seconds)}{_eta_text(session)}"
    return f"{counts} of {session.space.search.trials} · {best_text} · {time}"


def leaderboard_table(rows: Sequence[Mapping[str, object]]) -> Table:
    """Give a table of leaderboard rows for a terminal; columns without a value are left out.

    Long values wrap; nothing in them is taken for markup.
    """
    table = Table(box=None, pad_edge=False)
    names = [name for name in (rows[0] if rows else ()) if any(row.get(name) is not None for row in rows)]
    for name in names:
        table.add_column(line(name), no_wrap=name != "values", overflow="fold" if name == "values" else "ellipsis")
    for row in rows:
        table.add_row(*(line(_short(row.get(name))) for name in names))
    return table


def values_text(values: Mapping[str, object]) -> str:
    """Give sampled values in one line, by the last part of their names, or the last two of `schedule.kind` and such."""
    return " ".join(f"{_last_name(name)}={_short(value)}" for name, value in values.items())


def top_rows(records: Iterable[TrialRecord], measures: Sequence[str] = ()) -> list[dict[str, object]]:
    """Give the rows of a short leaderboard, best first.

    Args:
        records: of the trials.
        measures: of the search; the first one's spread over folds stands beside the score, and with two or more the
            column `front` marks the trials that no other beats in all of them.
    """
    known = list(records)
    front = {row["trial"]: row.get("front") for row in leaderboard_rows(known, measures)}
    return [
        {
            "rank": rank if record.best else None,
            "trial": record.trial,
            "state": record.state,
            "score": record.best and _with_spread(record.best, measures),
            "front": {None: None, True: "yes", False: ""}[front[record.trial]],
            "test_accuracy": record.test.get("accuracy"),
            "test_miou": record.test.get("miou"),
            "best_epoch": record.best and record.best.epoch,
            "epochs": len(record.epochs),
            "seconds": round(record.seconds, 1),
            "values": values_text(record.values),
        }
        for rank, record in enumerate(ranked(known), start=1)
    ]


def _with_spread(best: EpochRecord, measures: Sequence[str]) -> float | str:
    """Give an epoch's score; of folds as a text with their standard deviation."""
    std = best.scores.get(f"{measures[0].removeprefix('-')}_std") if measures else None
    return best.score if std is None else f"{best.score:.4f} ± {std:.4f}"


def _last_name(dotted: str) -> str:
    *_, section, name = ["", *dotted.split(".")]
    return f"{section}.{name}" if name == "kind" else name


def finals_top_rows(finals: Sequence[Final], score_name: str) -> list[dict[str, object]]:
    """Give the rows of a short table of the finals: means with their spread, and their intervals."""
    rows: list[dict[str, object]] = []
    for rank, final in enumerate(finals, start=1):
        row: dict[str, object] = {"rank": rank, "trial": final.finalist.trial.trial, "tie": "yes" if final.tied else ""}
        row["repeats"] = len(final.finalist.repeats)
        for split, standing in (("val", final.val), ("test", final.test)):
            if standing:
                spread = f" ± {standing.std:.4f}" if len(standing.values) > 1 else ""
                row[f"{split}_{score_name}"] = f"{standing.mean:.4f}{spread}"
                row[f"{split}_95%"] = f"{standing.within.low:.4f} to {standing.within.high:.4f}"
        row["values"] = values_text(final.finalist.trial.values)
        rows.append(row)
    return rows


def _short(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _eta_text(session: SearchSession) -> str:
    """Say what is left; of an estimate that is used up, that it was too short, as long as anything is at work."""
    left = session.seconds_left
    if left is None:
        return ""
    if left >= _LEAST_SECONDS_SHOWN:
        return f", {clock_text(left)} left"
    return ", longer than estimated" if left == 0 and session.running else ""
