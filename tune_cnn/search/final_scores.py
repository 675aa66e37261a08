"""The end of the finals: score every repeat, put the configurations in order, say which cannot be told apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tune_cnn.config import Task
from tune_cnn.files import point_to
from tune_cnn.outcomes import outcomes_of
from tune_cnn.results.finals import Final, Finalist, Repeat, finals_rows, judge
from tune_cnn.results.intervals import Score
from tune_cnn.results.scores import Counts, segmentation_scores, split_scores
from tune_cnn.results.tables import write_csv
from tune_cnn.search.finals import FinalsSession, Heat
from tune_cnn.sections.search import METRICS, Metric


@dataclass(frozen=True)
class Judged:
    """Finals in order, best first, and the name of the score they were judged by, such as `accuracy`."""

    finals: Sequence[Final]
    score_name: str


def score_finals(
    session: FinalsSession, *, task: Task, metric: Metric, data_root: Path | None, cache_dir: Path, seed: int
) -> Judged:
    """Score all repeats that ended well, write finals.csv, and let `best` name the best repeat of the winner.

    Losses cannot be computed from counts: a search by `-val_loss` is judged by the task's first metric.

    Args:
        session: the finals, all of which have ended.
        task: what is predicted.
        metric: what the search ranked by.
        data_root: where the images are now.
        cache_dir: where decoded images are kept.
        seed: of the bootstrap.

    Returns:
        The configurations with at least one repeat that did not fail; none if there are none.
    """
    name = _counted(metric, task).removeprefix("val_")
    finals = judge(_finalists(session, data_root, cache_dir), _score(task, name), seed=seed)
    rows = finals_rows(finals, name)
    write_csv(session.run.finals, list(dict.fromkeys(column for row in rows for column in row)), rows)
    if finals:
        point_to(session.run.best, _best_repeat(session, finals[0].finalist.trial.trial).folder(session.run).best)
    return Judged(finals, name)


def verdict(judged: Judged) -> str:
    """Say in a line who won, or who cannot be told apart."""
    if len(judged.finals) < 2:
        return "the finals compared nothing: fewer than two configurations have a score"
    first, *_ = judged.finals
    tied = [final.finalist.trial.trial for final in judged.finals if final.tied]
    if tied:
        return (
            f"trials {_listed(tied)} cannot be told apart on the validation images; the cheapest of them stands first"
        )
    return f"trial {first.finalist.trial.trial} is better than the others by more than chance"


def _finalists(session: FinalsSession, data_root: Path | None, cache_dir: Path) -> list[Finalist]:
    repeats: dict[int, list[Repeat]] = {}
    for heat, outcome in session.outcomes().items():
        if outcome["failure"]:
            continue
        model = heat.folder(session.run).best
        found = outcomes_of(model, data_root=data_root, splits=["val", "test"], cache_dir=cache_dir)
        repeats.setdefault(heat.trial, []).append(Repeat(outcome["seed"], found["val"], found.get("test")))
    return [Finalist(record, tuple(repeats[record.trial])) for record in session.finalists if record.trial in repeats]


def _best_repeat(session: FinalsSession, trial: int) -> Heat:
    ended = {heat: each for heat, each in session.outcomes().items() if heat.trial == trial and not each["failure"]}
    return max(ended, key=lambda heat: (ended[heat]["score"], -heat.repeat))


def _counted(metric: Metric, task: Task) -> Metric:
    return metric if metric.startswith("val_") else METRICS[task][0]


def _score(task: Task, name: str) -> Score:
    def score(counts: Counts) -> float:
        scores = split_scores(counts) if task == "classification" else segmentation_scores(counts)
        return scores[name]

    return score


def _listed(numbers: Sequence[int]) -> str:
    *most, last = map(str, numbers)
    return f"{', '.join(most)} and {last}"
