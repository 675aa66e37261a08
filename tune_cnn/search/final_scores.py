"""The end of the finals: score every repeat, put the configurations in order, say which cannot be told apart."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tune_cnn.config import Task
from tune_cnn.data.cache import Cache
from tune_cnn.errors import DataError, RunFolderError
from tune_cnn.files import point_to
from tune_cnn.outcomes import outcomes_of
from tune_cnn.results.finals import Final, Finalist, Repeat, finals_rows, judge
from tune_cnn.results.intervals import Outcomes, Score
from tune_cnn.results.outcome_files import read_outcomes, write_outcomes
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
    session: FinalsSession,
    *,
    task: Task,
    metric: Metric,
    data_root: str | Path | None,
    cache: Cache,
    seed: int,
    note: Callable[[str], None] = lambda _text: None,
) -> Judged:
    """Score all repeats that ended well, write finals.csv, and let `best` name the best repeat of the winner.

    Losses cannot be computed from counts: a search by `-val_loss` is judged by the task's first metric.

    Args:
        session: the finals, all of which have ended.
        task: what is predicted.
        metric: what the search ranked by.
        data_root: where the images are now.
        cache: where decoded images are kept.
        seed: of the bootstrap.
        note: told a line for each repeat whose model cannot be scored; it counts as failed.

    Returns:
        The configurations with at least one repeat that did not fail; none if there are none.

    Raises:
        DataError: the repeats were trained on different images and cannot be compared.
    """
    name = _counted(metric, task).removeprefix("val_")
    scored = _scored(session, data_root, cache, note)
    try:
        finals = judge(_finalists(session, scored), _score(task, name), seed=seed)
    except ValueError as error:
        raise DataError(f"{session.run.finals}: the finals cannot be compared: {error}") from error
    rows = finals_rows(finals, name)
    write_csv(session.run.finals, list(dict.fromkeys(column for row in rows for column in row)), rows)
    if finals:
        _show_winner(session, finals[0].finalist.trial.trial, scored)
    return Judged(finals, name)


def verdict(judged: Judged) -> str:
    """Say in a line who won, or who cannot be told apart."""
    if len(judged.finals) < 2:
        return "the finals compared nothing: fewer than two configurations have a score"
    first, *_ = judged.finals
    failed = [
        f"trial {each.finalist.trial.trial} {each.finalist.failed}" for each in judged.finals if each.finalist.failed
    ]
    lost = f"; repeats that failed: {', '.join(failed)}" if failed else ""
    tied = [final.finalist.trial.trial for final in judged.finals if final.tied]
    if tied:
        alike = f"trials {_listed(tied)} cannot be told apart on the validation images"
        return f"{alike}; the cheapest of them stands first{lost}"
    if failed and any(each.val.mean > first.val.mean for each in judged.finals):
        return f"trial {first.finalist.trial.trial} stands first among those with all their repeats{lost}"
    winner = f"trial {first.finalist.trial.trial} is better than the others"
    if any(len(each.finalist.repeats) < 2 for each in judged.finals):
        return f"{winner} on these images, but one repeat tells nothing of the luck of its seed{lost}"
    return f"{winner} by more than chance: {_basis(judged.finals)}{lost}"


def _basis(finals: Sequence[Final]) -> str:
    """Say what is known of the distance between the winner, which stands first, and the one that comes nearest."""
    _, *others = finals
    nearest = max(others, key=lambda each: each.val.to_best.high)
    which = f"trial {nearest.finalist.trial.trial}{', the nearest' if len(others) > 1 else ''}"
    low, high = -nearest.val.to_best.high, -nearest.val.to_best.low
    basis = "95 % interval of the paired difference over the validation images and the repeats"
    return f"it is ahead of {which}, by {low:.4f} to {high:.4f} ({basis})"


def _scored(
    session: FinalsSession, data_root: str | Path | None, cache: Cache, note: Callable[[str], None]
) -> dict[Heat, Repeat]:
    """Score every repeat that ended well, once; a damaged or missing model costs its own repeat only."""
    scored: dict[Heat, Repeat] = {}
    well = [heat for heat, outcome in session.outcomes().items() if not outcome["failure"]]
    if new := sum(not heat.folder(session.run).outcomes.exists() for heat in well):
        note(f"scoring the finals' models on the images held back from training, {new} of them …")
    for heat, outcome in session.outcomes().items():
        if outcome["failure"]:
            continue
        try:
            found = _outcomes(session, heat, data_root, cache)
        except RunFolderError as error:
            note(f"final of trial {heat.trial}, repeat {heat.repeat}, could not be scored: {error}")
            continue
        costs = {name: outcome.get(name) for name in ("seconds", "peak_memory_mb", "ms_per_image")}
        scored[heat] = Repeat(outcome["seed"], found["val"], found.get("test"), **costs)
    return scored


def _outcomes(session: FinalsSession, heat: Heat, data_root: str | Path | None, cache: Cache) -> Mapping[str, Outcomes]:
    folder = heat.folder(session.run)
    if (kept := read_outcomes(folder.outcomes)) is not None:
        return kept
    found = outcomes_of(folder.best, data_root=data_root, splits=["val", "test"], cache=cache)
    write_outcomes(folder.outcomes, found)
    return found


def _finalists(session: FinalsSession, scored: Mapping[Heat, Repeat]) -> list[Finalist]:
    found = []
    for record in session.finalists:
        repeats = tuple(repeat for heat, repeat in scored.items() if heat.trial == record.trial)
        ended = sum(heat.trial == record.trial for heat in session.outcomes())
        if repeats:
            found.append(Finalist(record, repeats, failed=ended - len(repeats)))
    return found


def _show_winner(session: FinalsSession, trial: int, scored: Mapping[Heat, Repeat]) -> None:
    """Let `best` name the winner's best repeat of those whose models are still there."""
    ended = session.outcomes()
    there = [heat for heat in scored if heat.trial == trial and heat.folder(session.run).best.exists()]
    if there:
        heat = max(there, key=lambda heat: (ended[heat]["score"], -heat.repeat))
        point_to(session.run.best, heat.folder(session.run).best)


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
