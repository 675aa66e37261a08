"""The end of a search: score what was kept on the test split, once, judge the finals, and show the outcome."""

from tune_cnn.config import Task
from tune_cnn.errors import RunFolderError, SearchError
from tune_cnn.evaluation import evaluate_model
from tune_cnn.results.best_doubts import best_doubt
from tune_cnn.results.confusion import write_confusion
from tune_cnn.results.display import place
from tune_cnn.results.leaderboard import ranked
from tune_cnn.search.final_scores import Judged, score_finals, verdict
from tune_cnn.search.finals import FinalsSession
from tune_cnn.search.places import SearchPlaces
from tune_cnn.search.screen import Screen, finals_top_rows, leaderboard_table, top_rows
from tune_cnn.search.session import SearchSession
from tune_cnn.showcase import write_pictures


def conclude(
    session: SearchSession,
    finals: FinalsSession | None,
    places: SearchPlaces,
    screen: Screen,
    *,
    task: Task,
    has_test: bool,
) -> None:
    """Score, write the last tables and show their top.

    Args:
        session: the search, over.
        finals: its finals, over too; None if there were none.
        places: where.
        screen: what is shown.
        task: what is predicted.
        has_test: whether there are test images.

    Raises:
        SearchError: no trial gave a result, or too many failed for one cause.
    """
    new = [one.trial for one in session.kept() if not one.test and session.run.trial(one.trial).best.exists()]
    if new and has_test:
        screen.note(f"scoring the models of the best trials on the test images, {len(new)} of them …")
    for number in new:
        _score_on_test(session, number, places, screen)
    session.write_tables()
    rows = top_rows(session.records.values(), session.space.search.measures)[: session.space.search.keep]
    screen.console.print(leaderboard_table(rows))
    facts = {"leaderboard": place(places.run.leaderboard)}
    winner = next((record.trial for record in ranked(session.records.values()) if record.best), None)
    if finals:
        judged = _judged(session, finals, places, screen, task)
        screen.console.print(leaderboard_table(finals_top_rows(judged.finals, judged.score_name)))
        screen.note(verdict(judged))
        facts["finals"] = place(places.run.finals)
        winner = judged.finals[0].finalist.trial.trial if judged.finals else winner
    best = {"best model": place(places.run.best)} if places.run.best.exists() else {}
    screen.lines({**facts, **best})
    if winner is not None and (doubt := best_doubt(places.run, winner)):
        screen.note(f"warning: {doubt}")
    if session.gave_up:
        raise SearchError(f"given up: five trials in a row failed alike: {session.gave_up}")
    if not session.kept():
        raise SearchError("no trial gave a score; see error.txt in the trials' folders")


def _judged(session: SearchSession, finals: FinalsSession, places: SearchPlaces, screen: Screen, task: Task) -> Judged:
    search = session.space.search
    return score_finals(
        finals,
        task=task,
        metric=search.ranked_by,
        data_root=session.space.data_root,
        cache=places.cache,
        seed=search.seed,
        note=screen.note,
    )


def _score_on_test(session: SearchSession, number: int, places: SearchPlaces, screen: Screen) -> None:
    """Score one model on the images where they lie now; a damaged one costs its own test scores only."""
    folder, root = session.run.trial(number), session.space.data_root
    try:
        found = evaluate_model(folder.best, data_root=root, splits=["test"], cache=places.cache)
        write_pictures(folder.best, folder.pictures, data_root=root, split="test", cache=places.cache)
    except RunFolderError as error:
        screen.note(f"trial {number} could not be scored on the test split: {error}")
        return
    for evaluation in found:
        write_confusion(folder.path, "test", evaluation.confusion, evaluation.classes, task=evaluation.task)
        session.note_test(number, evaluation.scores)
