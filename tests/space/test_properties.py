"""What holds for every space: what is accepted can be drawn, and what is refused is refused with a message."""

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.space.made import changed
from tests.space.malformed_spaces import GOOD
from tune_cnn.errors import SpaceFileError
from tune_cnn.space.domains import Choice, FloatRange, IntRange, Parameter
from tune_cnn.space.lint import lint
from tune_cnn.space.schema import read_space
from tune_cnn.yaml_files import write_yaml

SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _whole(low: int, high: int) -> st.SearchStrategy[Any]:
    """A whole number, a choice of some, or a range; not always one that makes sense."""
    number = st.integers(low, high)
    ends = st.tuples(number, number).map(lambda pair: [min(pair), max(pair) + 1])
    steps = st.sampled_from([{}, {"log": True}, {"step": 1}, {"step": 2}])
    ranges = st.builds(lambda pair, extra: {"range": pair, **extra}, ends, steps)
    choices = st.lists(st.one_of(number, ranges), min_size=1, max_size=3).map(lambda options: {"choice": options})
    return st.one_of(number, ranges, choices)


def _fraction(low: float, high: float) -> st.SearchStrategy[Any]:
    number = st.floats(low, high).map(lambda value: round(value, 3))
    ends = st.tuples(number, number).map(lambda pair: [min(pair), max(pair) + 0.125])
    steps = st.sampled_from([{}, {"log": True}, {"step": 0.05}])
    ranges = st.builds(lambda pair, extra: {"range": pair, **extra}, ends, steps)
    choices = st.lists(st.one_of(number, ranges), min_size=1, max_size=3).map(lambda options: {"choice": options})
    return st.one_of(number, ranges, choices)


def _sections(*sections: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    one = st.one_of(*sections)
    return st.one_of(one, st.lists(one, min_size=1, max_size=3).map(lambda options: {"choice": options}))


def _section(optional: dict[str, Any], **fixed: Any) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({name: st.just(value) for name, value in fixed.items()}, optional=optional)


PLATEAU = _section({"factor": _fraction(0.01, 0.9), "patience_epochs": _whole(1, 9)}, kind="plateau")
ONE_CYCLE = _section({"rise": _fraction(0.01, 0.8)}, kind="one_cycle")
NESTEROV = st.sampled_from([False, True, {"choice": [False, True]}])
SGD = _section({"lr": _fraction(0.001, 0.1), "momentum": _fraction(0.0, 0.8), "nesterov": NESTEROV}, kind="sgd")
ADAM = _section({"lr": _fraction(0.001, 0.1)}, kind="adam")
FREEZE = _section({"depth": _fraction(0.0, 0.8), "last_units": _whole(0, 9)})
HIDDEN = st.lists(_whole(1, 64), max_size=2)
HIDDENS = st.just({"choice": [[], [8], [{"range": [4, 8]}]]})
HEAD = _section({"dropout": _fraction(0.0, 0.8), "hidden": st.one_of(HIDDEN, HIDDENS)})
ROTATE = st.fixed_dictionaries({"transform": st.just("Rotate"), "arguments": _section({"limit": _whole(1, 90)})})
SPACES = st.fixed_dictionaries(
    {},
    optional={
        "training__epochs": _whole(1, 12),
        "training__warm_up": _section({"epochs": _whole(0, 3)}),
        "training__schedule": _sections(PLATEAU, ONE_CYCLE),
        "training__optimizer": _sections(SGD, ADAM),
        "model__freeze": _sections(FREEZE),
        "model__head": _sections(HEAD),
        "augment": st.one_of(st.just({"choice": ["none", "light"]}), st.lists(ROTATE, max_size=2)),
    },
)


def _at_random(dice: random.Random) -> Any:
    """Draw as a sampler does; the ends as often as what lies between them."""

    def suggest(parameter: Parameter) -> Any:
        domain = parameter.domain
        match domain:
            case Choice():
                return dice.choice(domain.labels)
            case IntRange():
                return dice.choice([domain.low, domain.high, dice.randrange(domain.low, domain.high + 1, domain.step)])
            case FloatRange():
                return dice.choice([domain.low, domain.high, domain.nearest(dice.uniform(domain.low, domain.high))])

    return suggest


@given(values=SPACES, seed=st.integers(0, 2**32))
@settings(SETTINGS, max_examples=150)
def test_every_draw_of_an_accepted_space_is_a_config_and_can_be_told_again(
    values: dict[str, Any], seed: int, tmp_path: Path
) -> None:
    path = tmp_path / "space.yaml"
    write_yaml(path, changed(**values))
    try:
        space = read_space(path)
    except SpaceFileError:
        return  # a range that clashes with another: refusing is right, and the property is about the rest
    dice = random.Random(seed)  # noqa: S311  # draws, not secrets
    for _ in range(10):
        drawn = space.draw(_at_random(dice))
        space.config(drawn.tree, seed=0, cpu_threads=1, weights_file=None)
        assert space.tree_of(drawn.values) == drawn
        assert set(drawn.named) <= {parameter.name for parameter in space.parameters}
    assert len({parameter.key for parameter in space.parameters}) == len(space.parameters)
    lint(space, train_images=100, val_images=50)
    write_yaml(path, space.canonical())
    assert read_space(path).parameters == space.parameters


def test_the_property_is_about_many_spaces(tmp_path: Path) -> None:
    accepted = []

    @given(values=SPACES)
    @settings(SETTINGS, max_examples=50)
    def count(values: dict[str, Any]) -> None:
        write_yaml(tmp_path / "space.yaml", changed(**values))
        try:
            accepted.append(bool(read_space(tmp_path / "space.yaml").parameters))
        except SpaceFileError:
            accepted.append(False)

    count()
    assert sum(accepted) > len(accepted) / 10


MARKS = (
    *(
        "{",
        "}",
        "[",
        "]",
        ": ",
        "- ",
        "\n",
        "\n  ",
        "\t",
        "&a ",
        "*a",
        "!!",
        "#",
        "|",
        ">",
        "? ",
        "'",
        '"',
        "\x00",
        "\ud800",
    ),
    *("choice: ", "range: ", "{range: [0, 1]}", ".nan", "1e999", "null", '"\\x1b[31m"'),
)
ADDED = st.one_of(st.text(max_size=3), st.sampled_from(MARKS))
MUTATIONS = st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 5), ADDED), min_size=1, max_size=4)


def _faults(path: Path) -> tuple[str, ...]:
    """The faults of a space file; none, if its defaults make a config."""
    try:
        space = read_space(path)
    except SpaceFileError as error:
        return error.faults
    space.config(space.tree_of(space.defaults()).tree, seed=0, cpu_threads=1, weights_file=None)
    return ()


@given(mutations=MUTATIONS)
@settings(SETTINGS, max_examples=300)
def test_whatever_a_space_file_holds_it_is_read_or_refused_with_printable_lines(
    mutations: list[tuple[int, int, str]], tmp_path: Path
) -> None:
    text = GOOD
    for place, removed, added in mutations:
        text = text[:place] + added + text[place + removed :]
    path = tmp_path / "space.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert all(fault.startswith(f"{path}:") and fault.isprintable() for fault in _faults(path))


@given(data=st.binary(max_size=200))
@settings(SETTINGS, max_examples=100)
def test_any_bytes_are_refused_with_a_message(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_bytes(data)
    with pytest.raises(SpaceFileError):
        read_space(path)
