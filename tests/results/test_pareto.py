import numpy as np
import pytest

from tune_cnn.results.pareto import on_front, signed

NAN = float("nan")


@pytest.mark.parametrize(
    ("rows", "front"),
    [
        pytest.param([(0.9, -5), (0.8, -5), (0.8, -1)], [True, False, True], id="dominated-in-one-equal-in-the-other"),
        pytest.param([(0.9, -5), (0.9, -5)], [True, True], id="equal-rows-share-their-fate"),
        pytest.param([(0.9, -5), (0.7, -9)], [True, False], id="worse-in-both"),
        pytest.param([(NAN, -1), (0.1, -2)], [False, True], id="what-was-not-measured"),
        pytest.param([(0.5,), (0.7,), (0.7,)], [False, True, True], id="one-measure-is-a-maximum"),
    ],
)
def test_the_front_is_what_nobody_dominates(rows: list[tuple[float, ...]], front: list[bool]) -> None:
    assert on_front(np.array(rows, float)).tolist() == front


def test_no_rows_have_no_front() -> None:
    assert on_front(np.empty((0, 2))).tolist() == []


def test_no_row_on_the_front_dominates_another_and_all_others_are_dominated() -> None:
    values = np.random.default_rng(0).integers(0, 8, (60, 3)).astype(float)
    front = on_front(values)

    def dominated(row: np.ndarray) -> bool:
        return any((other >= row).all() and (other > row).any() for other in values)

    assert [not dominated(row) for row in values] == front.tolist()


def test_a_minus_turns_a_measure_round() -> None:
    assert signed(["val_accuracy", "-parameters"]) == [(1.0, "val_accuracy"), (-1.0, "parameters")]
