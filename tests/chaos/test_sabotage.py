"""The chaos suite can fail: it goes red where the processes under test lack a safeguard."""

import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import pytest

from tests.chaos.crowd import crowd
from tests.chaos.damage import Damaged
from tests.chaos.failpoints import FaultKind
from tests.chaos.ground import ONE_BY_ONE, Ground
from tests.chaos.kills import undisturbed
from tests.chaos.points import Points

pytestmark = pytest.mark.slow
One = TypeVar("One")
_SEED = 5


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground.make(tmp_path / "ground")


def first_fault(act: Callable[[One], str], ones: Iterable[One]) -> str:
    """The first thing that does not hold; empty if all does."""
    return next((fault for one in ones if (fault := act(one))), "")


@pytest.mark.parametrize(
    ("sabotage", "kinds", "whats"),
    [
        pytest.param("sync", ("power", "power-names"), ("rename", "commit"), id="a-power-cut-without-syncs"),
        pytest.param("rename", ("kill",), ("write",), id="a-kill-while-files-are-written-in-place"),
    ],
)
def test_faults_at_writes_are_noticed(
    sabotage: str, kinds: tuple[FaultKind, ...], whats: tuple[str, ...], ground: Ground, tmp_path: Path
) -> None:
    points = Points(ground, tmp_path / "points", sabotage=sabotage)
    struck = [one for one in points.all(kinds) if one.what in whats]
    random.Random(_SEED).shuffle(struck)
    assert first_fault(points.strike, struck)


@pytest.mark.parametrize(
    ("sabotage", "interrupted", "part"),
    [
        pytest.param("digest", True, "/last/", id="checkpoints-without-digests"),
        pytest.param("seals", False, "study.db", id="a-study-without-seals"),
    ],
)
def test_flipped_bits_are_noticed(sabotage: str, interrupted: bool, part: str, ground: Ground, tmp_path: Path) -> None:
    damaged = Damaged(ground, tmp_path / "damaged", interrupted=interrupted, sabotage=sabotage)
    flips = [one for one in damaged.all(random.Random(_SEED), flips=100) if one.kind == "flip" and part in one.file]
    assert "silently" in first_fault(damaged.try_out, flips)


def test_drivers_that_meet_without_a_lock_are_noticed(ground: Ground, tmp_path: Path) -> None:
    whole = undisturbed(ground, ONE_BY_ONE, tmp_path / "whole")
    assert crowd(ground, tmp_path / "crowd", whole, starts=20, sabotage="lock")
