import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_cnn.models.freeze import UnitLine, frozen_units
from tune_cnn.sections.model import Freeze

#               stem  pool   stage 1   stage 2  pooling
LINE = UnitLine((1, 0, 4, 6, 6, 0), (2, 4, 4, 8, 8, 8))


@pytest.mark.parametrize(
    ("freeze", "units"),
    [
        pytest.param(Freeze(), 0, id="nothing-written-freezes-nothing"),
        pytest.param(Freeze(depth=0.0), 0, id="depth-0"),
        pytest.param(Freeze(depth=1.0), 6, id="depth-1-leaves-the-head"),
        pytest.param(Freeze(depth=0.5), 3, id="depth-half"),
        pytest.param(Freeze(depth=0.8), 5, id="depth-is-rounded"),
        pytest.param(Freeze(last_units=0), 6, id="no-unit-left"),
        pytest.param(Freeze(last_units=2), 4, id="two-units-left"),
        pytest.param(Freeze(last_units=6), 0, id="all-units-left"),
        pytest.param(Freeze(last_layers=0), 6, id="no-layer-left"),
        pytest.param(Freeze(last_layers=1), 4, id="a-unit-is-never-torn"),
        pytest.param(Freeze(last_layers=6), 4, id="layers-that-fill-a-unit"),
        pytest.param(Freeze(last_layers=7), 3, id="one-layer-more-takes-the-next-unit"),
        pytest.param(Freeze(last_layers=17), 0, id="all-layers-left"),
        pytest.param(Freeze(stride=4), 1, id="frozen-before-the-first-unit-at-stride-4"),
        pytest.param(Freeze(stride=8), 3, id="frozen-before-the-first-unit-at-stride-8"),
    ],
)
def test_each_way_of_writing_a_depth_gives_a_number_of_units(freeze: Freeze, units: int) -> None:
    assert frozen_units(freeze, LINE, "net") == units


def test_a_stride_that_is_skipped_stops_before_the_next_larger() -> None:
    assert frozen_units(Freeze(stride=8), UnitLine((1, 1), (4, 16)), "net") == 1


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        pytest.param(
            Freeze(last_units=7),
            "7 units to train, but net has only 6; write last_units: 6 at most, or a depth between 0 and 1",
            id="units",
        ),
        pytest.param(
            Freeze(last_layers=18),
            "18 layers to train, but net has only 17 with weights; write last_layers: 17 at most, "
            "or a depth between 0 and 1",
            id="layers",
        ),
        pytest.param(
            Freeze(stride=16),
            "frozen up to stride 16, but net has only strides 2, 4, 8; "
            "write a smaller stride, or a depth between 0 and 1",
            id="stride",
        ),
    ],
)
def test_a_depth_beyond_the_backbone_says_what_to_write(freeze: Freeze, message: str) -> None:
    with pytest.raises(ValueError, match="net has only") as caught:
        frozen_units(freeze, LINE, "net")
    assert str(caught.value) == message


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.data())
def test_never_fewer_layers_train_than_asked_and_no_unit_more_than_needed(
    layers: list[int], data: st.DataObject
) -> None:
    line = UnitLine(tuple(layers), (2,) * len(layers))
    asked = data.draw(st.integers(0, sum(layers)))
    units = frozen_units(Freeze(last_layers=asked), line, "net")
    assert sum(layers[units:]) >= asked
    assert units == len(layers) or sum(layers[units + 1 :]) < asked


def test_a_line_with_a_stride_missing_is_refused() -> None:
    with pytest.raises(ValueError, match="2 weight layer counts, but 1 strides"):
        UnitLine((1, 2), (2,))
