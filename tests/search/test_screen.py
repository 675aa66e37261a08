from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from tests.results.made import epoch, trial
from tests.search.driving import begin, drive, epoch_of, facts_of, made_space, open_session
from tune_cnn.planning.cost import Images
from tune_cnn.planning.forecast import Forecast
from tune_cnn.results.display import clock_text
from tune_cnn.results.records import RunFolder
from tune_cnn.search.screen import Screen, leaderboard_table, live_view, standing, top_rows, values_text
from tune_cnn.search.session import SearchSession


def shown(renderable: object, width: int = 160) -> str:
    console = Console(file=StringIO(), width=width)
    console.print(renderable)
    text = console.file
    assert isinstance(text, StringIO)
    return text.getvalue()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def session(tmp_path: Path, clock: Clock) -> SearchSession:
    return open_session(made_space(tmp_path), RunFolder(tmp_path / "run"), clock=clock)


def test_a_running_trial_is_shown_with_its_epoch_and_scores(session: SearchSession) -> None:
    job = session.propose()
    assert job is not None
    begin(session, job)
    session.on_epoch(0, epoch_of(1, 0.7), facts_of(job), None)
    session.on_epoch(0, epoch_of(2, 0.6), facts_of(job), None)
    text = shown(live_view(session))
    for piece in (
        "2/9",
        "0.6000",
        "0.7000",
        "backbone=resnet18",
        "best 0.7000 (trial 0)",
        "0 complete, 0 stopped, 0 failed of 12",
    ):
        assert piece in text


def test_before_the_first_epoch_there_is_no_score(session: SearchSession) -> None:
    session.propose()
    assert "0/9" in shown(live_view(session))
    assert "no score yet" in standing(session)


def test_the_time_left_stands_beside_the_time_spent(session: SearchSession, clock: Clock) -> None:
    assert "left" not in standing(session)
    session.begin_forecast(Forecast(session.space, Images(100, 20), slots=1, clock=clock))
    drive(session, most=4)
    left = session.seconds_left
    assert left is not None
    assert standing(session).endswith(f" · 0:00, {clock_text(left)} left")


def test_an_estimate_that_is_used_up_is_not_shown_as_no_time_left(session: SearchSession, clock: Clock) -> None:
    session.begin_forecast(Forecast(session.space, Images(100, 20), slots=1, clock=clock))
    drive(session, most=4)
    session.propose()
    clock.now = 1e6
    assert session.seconds_left == 0
    assert standing(session).endswith(":40, longer than estimated")


def test_once_all_has_ended_nothing_is_said_of_time_left(session: SearchSession, clock: Clock) -> None:
    session.begin_forecast(Forecast(session.space, Images(100, 20), slots=1, clock=clock))
    drive(session)
    clock.now = 1e6
    assert standing(session).endswith(":40")


def test_a_pipe_gets_plain_lines_with_the_standing(tmp_path: Path) -> None:
    console = Console(file=StringIO(), width=80)
    screen = Screen(console)
    session = open_session(made_space(tmp_path), RunFolder(tmp_path / "run"), on_event=screen.event)
    with screen.watching(session):
        drive(session, most=2)
    assert isinstance(console.file, StringIO)
    lines = console.file.getvalue().splitlines()
    assert [line.split("  [")[0] for line in lines[:1]] == ["trial 0 begins"]
    assert "trial 0 complete with" in lines[1]
    assert "[1/12" in lines[1]
    assert "\x1b" not in console.file.getvalue()


def test_a_terminal_keeps_the_ends_of_trials_above_the_live_table(tmp_path: Path) -> None:
    console = Console(file=StringIO(), width=120, force_terminal=True)
    screen = Screen(console)
    session = open_session(made_space(tmp_path), RunFolder(tmp_path / "run"), on_event=screen.event)
    with screen.watching(session):
        drive(session, most=2)
    assert isinstance(console.file, StringIO)
    assert "trial 0 complete with" in console.file.getvalue()
    assert "trial 0 begins" not in console.file.getvalue()


def test_names_are_shown_as_they_are_not_as_markup() -> None:
    records = [trial(0, epochs=(epoch(1, 0.5),), values={"model.weights": "[red]a[/red]", "b": "\x1b[31m"})]
    text = shown(leaderboard_table(top_rows(records)))
    assert "weights=[red]a[/red]" in text
    assert "\x1b[31m" not in text


def test_columns_without_a_value_are_left_out() -> None:
    text = shown(leaderboard_table(top_rows([trial(0, epochs=(epoch(1, 0.5),))])))
    assert "test_accuracy" not in text
    assert "score" in text


@pytest.mark.parametrize("name", ["accuracy", "miou"])
def test_the_test_score_of_either_task_is_shown(name: str) -> None:
    [row] = top_rows([trial(0, epochs=(epoch(1, 0.5),), test={"loss": 1.0, name: 0.4321})])
    text = shown(leaderboard_table([row]))
    assert (f"test_{name}" in text, "0.4321" in text, text.count("test_")) == (True, True, 1)


def test_the_spread_over_the_folds_stands_beside_the_score() -> None:
    folds, single = trial(0, epochs=(epoch(1, 0.5, val_accuracy_std=0.025),)), trial(1, epochs=(epoch(1, 0.4),))
    assert [row["score"] for row in top_rows([single, folds], ("val_accuracy",))] == ["0.5000 ± 0.0250", 0.4]


def test_with_several_measures_the_front_is_shown() -> None:
    best, beaten = (replace(trial(number, epochs=(epoch(1, 0.9 - number),)), peak_memory_mb=1.0) for number in (0, 1))
    rows = top_rows([beaten, best], ("val_accuracy", "-peak_memory_mb"))
    assert [(row["trial"], row["front"]) for row in rows] == [(0, "yes"), (1, "")]
    assert "front" in shown(leaderboard_table(rows))
    assert "front" not in shown(leaderboard_table(top_rows([best, beaten], ("val_accuracy",))))


def test_no_trials_give_an_empty_table() -> None:
    assert shown(leaderboard_table([])).strip() == ""


def test_a_chosen_section_is_named_with_its_kind() -> None:
    values = {"training.schedule.kind": "plateau", "training.optimizer.lr": 0.001, "augment": "none"}
    assert values_text(values) == "schedule.kind=plateau lr=0.001 augment=none"
