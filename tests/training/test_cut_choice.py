from itertools import pairwise
from typing import Any

import pytest

from tune_cnn.training.cut_choice import Costs, choose_rungs, cut_for

IMAGE_BYTES = 1000


def costs(seconds: list[float], sizes: list[int | None], **values: float) -> Costs:
    """Costs of units; an image costs nothing to read, and a million bytes of features a second, if not said."""
    usual: dict[str, Any] = {"image_bytes": IMAGE_BYTES, "image_seconds": 0.0, "seconds_per_byte": 1e-6}
    return Costs(tuple(seconds), tuple(sizes), **usual | values)


def everything(of: Costs) -> range:
    return range(1, len(of.seconds) + 1)


EVEN = costs([1.0] * 20, [10] * 20)


@pytest.mark.parametrize(
    ("of", "rungs"),
    [
        pytest.param(costs([1.0] * 4, [1001] * 4), (), id="larger-than-the-image"),
        pytest.param(costs([1.0] * 4, [1001, 1001, 10, 1001]), (3,), id="the-one-that-is-small"),
        pytest.param(costs([1e-3] * 4, [1000] * 4), (), id="a-prefix-that-costs-less-than-its-features"),
        pytest.param(costs([1.0] * 3, [None, None, 5000]), (3,), id="only-at-its-end-however-large"),
        pytest.param(costs([1.0] * 3, [None] * 3), (), id="nowhere"),
        pytest.param(costs([], []), (), id="no-units"),
        pytest.param(
            costs([1.0, 1.0, 0.0, 1.0], [10, 10, 900, 10]), (1, 2, 4), id="the-smaller-one-before-a-free-unit"
        ),
    ],
)
def test_rungs_are_where_features_pay(of: Costs, rungs: tuple[int, ...]) -> None:
    assert choose_rungs(of, everything(of)) == rungs


def test_rungs_lie_close_near_the_head_and_far_apart_below() -> None:
    rungs = choose_rungs(EVEN, everything(EVEN))
    gaps = [after - before for before, after in pairwise(rungs)]
    assert rungs[-4:] == (17, 18, 19, 20)
    assert gaps == sorted(gaps, reverse=True)
    assert len(rungs) < 12


def test_no_depth_pays_more_than_a_tenth_of_its_step_for_sharing() -> None:
    rungs = choose_rungs(EVEN, everything(EVEN))
    for depth in range(rungs[0], 21):
        cut = cut_for(depth, EVEN, rungs)
        assert cut is not None
        best = min(EVEN.up_to(depth, cut=each) for each in range(1, depth + 1))
        assert EVEN.up_to(depth, cut=cut) <= best + 0.1 * (best + EVEN.step(depth)) + 1e-9


def test_only_depths_that_can_be_are_served() -> None:
    assert choose_rungs(EVEN, (20,)) == (20,)


def test_a_cut_that_cannot_be_used_gives_way_to_the_next_one() -> None:
    of = costs([1.0] * 4, [10] * 4)
    assert choose_rungs(of, everything(of)) == (1, 2, 3, 4)
    assert choose_rungs(of, everything(of), without={3}) == (1, 2, 4)
    assert cut_for(3, of, (1, 2, 4)) == 2


@pytest.mark.parametrize(
    ("frozen", "rungs", "cut"),
    [
        pytest.param(0, (2, 4), None, id="nothing-frozen"),
        pytest.param(1, (2, 4), None, id="all-rungs-are-deeper"),
        pytest.param(3, (2, 4), 2, id="the-next-below"),
        pytest.param(4, (2, 4), 4, id="on-a-rung"),
        pytest.param(4, (), None, id="no-rungs"),
    ],
)
def test_a_depth_uses_the_cheapest_rung_not_below_it(frozen: int, rungs: tuple[int, ...], cut: int | None) -> None:
    assert cut_for(frozen, EVEN, rungs) == cut


def test_an_image_that_is_cheaper_than_its_features_is_run_through_the_units() -> None:
    of = costs([0.001, 0.001], [900, 900], seconds_per_byte=1e-5)
    assert cut_for(2, of, (2,)) is None


def test_costs_come_back_from_a_note() -> None:
    of = costs([1.0, 2.0], [10, None])
    assert Costs.from_json(of.as_json()) == of
