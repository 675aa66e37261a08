from pathlib import Path

import pytest

from benchmarks.curve_table import Curve, curves_of, read_curves, write_curves
from benchmarks.record_curves import SPACE
from benchmarks.surrogate import Surrogate
from tests.search.driving import drive, made_space, open_session
from tune_cnn.errors import InputError
from tune_cnn.models.trunk import model_faults, size_faults
from tune_cnn.results.records import RunFolder, Scalar
from tune_cnn.space.lint import lint
from tune_cnn.space.schema import read_space

LR = "training.optimizer.lr"


def test_the_space_of_the_recorded_curves_is_good() -> None:
    space = read_space(SPACE, backbone_check=model_faults, size_check=size_faults)
    assert space.name == SPACE.stem
    assert lint(space) == []


def test_a_table_gives_back_the_curves_of_a_search_that_came_to_their_end(tmp_path: Path) -> None:
    space = made_space(tmp_path)
    session = open_session(space, RunFolder(tmp_path / "run"))
    drive(session)
    records = list(session.records.values())
    curves = curves_of(records, space.parameters)
    write_curves(tmp_path / "curves.csv", curves, space.parameters)

    assert read_curves(tmp_path / "curves.csv", space.parameters) == curves
    whole = [record for record in records if record.state == "complete"]
    assert 0 < len(curves) == len(whole) < len(records)
    assert [curve.scores for curve in curves] == [tuple(epoch.score for epoch in record.epochs) for record in whole]
    for curve, record in zip(curves, whole, strict=True):
        config = space.tree_of(curve.values)  # raises if a value is missing
        assert config.named[LR] == record.values[LR]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(None, "no such file; record it", id="missing"),
        pytest.param("", "holds no curves", id="empty"),
        pytest.param("lr,frozen_units,score_01,seconds_01\n1,2,3,4\n", LR, id="of-another-space"),
    ],
)
def test_a_table_that_cannot_be_used_is_named(tmp_path: Path, text: str | None, says: str) -> None:
    table = tmp_path / "curves.csv"
    if text is not None:
        table.write_text(text)
    with pytest.raises(InputError, match=says) as caught:
        read_curves(table, made_space(tmp_path).parameters)
    assert str(table) in str(caught.value)


def values_of(lr: float, depth: float = 0.5) -> dict[str, Scalar]:
    return {
        "model.backbone": "resnet18",
        "model.freeze.depth": depth,
        LR: lr,
        "training.schedule": "one_cycle",
        "training.schedule[one_cycle].rise": 0.2,
    }


@pytest.fixture
def surrogate(tmp_path: Path) -> Surrogate:
    """The rate decides about the score, the depth about nothing."""
    lrs = [1e-5, 2e-5, 3e-5, 4e-5, 1e-2, 2e-2, 3e-2, 4e-2]
    curves = [
        Curve(
            values_of(lr, place % 2), 3 + place % 2, (0.5 * (lr > 1e-3), 0.5 * (lr > 1e-3) + lr), (9.0, 1.0 + place % 2)
        )
        for place, lr in enumerate(lrs)
    ]
    return Surrogate(curves, made_space(tmp_path).parameters)


@pytest.mark.parametrize("depth", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("lr", "good"), [(1.5e-5, False), (5e-2, True)], ids=["low-rate", "high-rate"])
def test_the_nearest_curve_is_near_in_what_matters(surrogate: Surrogate, lr: float, good: bool, depth: float) -> None:
    assert (surrogate.ask(values_of(lr, depth)).curve.scores[0] > 0) is good


def test_the_same_configuration_gets_the_same_curve(surrogate: Surrogate) -> None:
    assert surrogate.ask(values_of(5e-4)) == surrogate.ask(values_of(5e-4))


def test_an_epoch_costs_what_is_usual_at_its_depth(surrogate: Surrogate) -> None:
    curves = [answer.curve for answer in surrogate.answers]
    assert {(curve.frozen_units, curve.seconds) for curve in curves} == {(3, (5.0, 5.0)), (4, (5.5, 5.5))}


def test_what_is_to_be_expected_leaves_a_configurations_own_luck_out(tmp_path: Path) -> None:
    lucky = [Curve(values_of(1e-3, place / 30), 3, (0.9 if place == 10 else 0.5,), (1.0,)) for place in range(30)]
    answers = Surrogate(lucky, made_space(tmp_path).parameters).answers
    assert answers[10].curve.scores == (0.9,)
    assert answers[10].expected == pytest.approx(0.5)
    assert answers[9].expected > 0.5


def test_its_faith_is_told_by_curves_left_out(surrogate: Surrogate) -> None:
    faith = surrogate.fidelity(folds=4)
    assert faith.rank_correlation > 0.5
    assert faith.mean_error < faith.plain_error
