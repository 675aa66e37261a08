from dataclasses import replace

import pytest

from tests.results.made import epoch, trial
from tune_cnn.results.leaderboard import epoch_rows, leaderboard_columns, leaderboard_rows, ranked
from tune_cnn.results.records import State, TrialFacts


def test_the_best_epoch_ranks_a_trial_not_its_last() -> None:
    early = trial(0, epochs=(epoch(1, 0.9), epoch(2, 0.2)))
    late = trial(1, epochs=(epoch(1, 0.1), epoch(2, 0.8)))
    rows = leaderboard_rows([late, early])
    assert [(row["trial"], row["score"], row["best_epoch"]) for row in rows] == [(0, 0.9, 1), (1, 0.8, 2)]


def test_the_earlier_of_two_equal_epochs_is_the_best() -> None:
    assert leaderboard_rows([trial(0, epochs=(epoch(1, 0.5), epoch(2, 0.5)))])[0]["best_epoch"] == 1


def test_a_failed_trial_has_neither_rank_nor_score() -> None:
    failed = trial(0, state="failed", reason="out of memory", epochs=(epoch(1, 0.99),))
    last = leaderboard_rows([failed, trial(1, epochs=(epoch(1, 0.1),))])[-1]
    assert (last["trial"], last["rank"], last["score"], last["reason"]) == (0, None, None, "out of memory")


def test_equal_scores_are_ranked_by_trial() -> None:
    trials = [trial(number, epochs=(epoch(1, 0.5),)) for number in (2, 0, 1)]
    assert [record.trial for record in ranked(trials)] == [0, 1, 2]


def test_columns_stand_in_the_order_of_the_contract() -> None:
    rows = leaderboard_rows(
        [trial(0, epochs=(epoch(1, 0.5),), values={"training.optimizer.lr": 0.1}, test={"accuracy": 0.4})]
    )
    columns = leaderboard_columns(rows)
    assert columns[:7] == ["rank", "trial", "state", "score", "best_epoch", "epochs", "seconds"]
    order = ["val_accuracy", "test_accuracy", "parameters", "reason", "seed", "data", "training.optimizer.lr"]
    assert [column for column in columns if column in order] == order


def test_a_parameter_of_a_branch_not_taken_is_an_empty_cell() -> None:
    rows = leaderboard_rows([trial(0, values={"a": 1}), trial(1, values={"b": 2})])
    assert {"a", "b"} <= set(leaderboard_columns(rows))
    assert "b" not in rows[0]


def test_every_epoch_of_every_trial_has_a_row() -> None:
    rows = epoch_rows([trial(1, epochs=(epoch(1, 0.1),)), trial(0, epochs=(epoch(1, 0.2), epoch(2, 0.3)))])
    assert [(row["trial"], row["epoch"]) for row in rows] == [(0, 1), (0, 2), (1, 1)]


def test_a_run_without_trials_has_tables_without_rows() -> None:
    assert leaderboard_rows([]) == []
    assert leaderboard_columns([])[0] == "rank"


@pytest.mark.parametrize("measures", [("val_accuracy",), ("val_accuracy", "-seconds")], ids=["one", "two"])
def test_no_trials_have_no_rows_whatever_is_measured(measures: tuple[str, ...]) -> None:
    assert leaderboard_rows([], measures) == []


def test_with_several_measures_the_front_is_marked() -> None:
    good, cheap, neither, failed = (
        replace(trial(number, epochs=(epoch(1, score),)), facts=TrialFacts(size, size, 1.0, 0, 1, "cpu"))
        for number, (score, size) in enumerate(((0.9, 500), (0.8, 100), (0.7, 300), (0.99, 1)))
    )
    failed = replace(failed, state="failed")
    rows = leaderboard_rows([good, cheap, neither, failed], ("val_accuracy", "-parameters"))
    assert {row["trial"]: row["front"] for row in rows} == {0: True, 1: True, 2: False, 3: False}
    columns = leaderboard_columns(rows)
    assert columns.index("front") == columns.index("seconds") + 1


@pytest.mark.parametrize(
    ("cost", "marked"),
    [
        pytest.param("-seconds", {"complete": True, "stopped": False, "running": False}, id="seconds"),
        pytest.param("-epochs", {"complete": True, "stopped": False, "running": False}, id="epochs"),
        pytest.param("-parameters", {"complete": True, "stopped": True, "running": False}, id="parameters"),
    ],
)
def test_a_trial_that_was_cut_short_is_not_on_the_front_for_it(cost: str, marked: dict[State, bool]) -> None:
    facts = {state: TrialFacts(size, size, 1.0, 0, 1, "cpu") for state, size in zip(marked, (300, 200, 1), strict=True)}
    complete = trial(0, epochs=(epoch(1, 0.5), epoch(2, 0.6)))
    stopped = trial(1, state="stopped", epochs=(epoch(1, 0.5),))
    running = trial(2, state="running", epochs=(epoch(1, 0.5),))
    records = [replace(record, facts=facts[record.state]) for record in (complete, stopped, running)]
    assert {row["state"]: row["front"] for row in leaderboard_rows(records, ("val_accuracy", cost))} == marked


def test_with_one_measure_there_is_no_front() -> None:
    assert "front" not in leaderboard_rows([trial(0, epochs=(epoch(1, 0.5),))], ("val_accuracy",))[0]


def test_the_time_per_image_is_that_of_the_fastest_pass() -> None:
    slow, fast = replace(epoch(1, 0.5), ms_per_image=9.0), replace(epoch(2, 0.4), ms_per_image=2.5)
    assert leaderboard_rows([trial(0, epochs=(slow, fast))])[0]["ms_per_image"] == 2.5
    assert leaderboard_rows([trial(0, epochs=(epoch(1, 0.5),))])[0]["ms_per_image"] is None
