"""The chaos suite, short: the same points each time; `make chaos` does much more, each time with other ones."""

import random
from pathlib import Path

import pytest

from tests.chaos.crowd import crowd
from tests.chaos.damage import Damaged
from tests.chaos.ground import KINDS, ONE_BY_ONE, Ground
from tests.chaos.kills import Undisturbed, kill_and_resume, undisturbed
from tests.chaos.points import Points

SEED = 2


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground.make(tmp_path_factory.mktemp("ground"))


@pytest.fixture(scope="module")
def whole(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return undisturbed(ground, ONE_BY_ONE, tmp_path_factory.mktemp("whole"))


def test_killed_drivers_lose_nothing_and_come_to_the_same_tables(
    ground: Ground, whole: Undisturbed, tmp_path: Path
) -> None:
    kind = random.Random(SEED).choice(KINDS)
    alone = whole if kind == ONE_BY_ONE else undisturbed(ground, kind, tmp_path)
    assert kill_and_resume(ground, kind, tmp_path, alone, seed=SEED, kills=2).faults == []


def test_a_fault_at_a_write_a_sync_or_a_rename_loses_nothing(ground: Ground, tmp_path: Path) -> None:
    points = Points(ground, tmp_path / "points")
    chosen = random.Random(SEED).sample(points.all(), 1)
    assert [fault for one in chosen if (fault := points.strike(one))] == []


def test_a_damaged_file_is_noticed_or_does_no_harm(ground: Ground, tmp_path: Path) -> None:
    dice = random.Random(SEED)
    damaged = Damaged(ground, tmp_path / "damaged", interrupted=dice.random() < 0.5)
    chosen = dice.sample(list(damaged.all(dice, flips=2)), 1)
    assert [fault for one in chosen if (fault := damaged.try_out(one))] == []


def test_of_many_drivers_on_one_folder_one_searches(ground: Ground, whole: Undisturbed, tmp_path: Path) -> None:
    assert crowd(ground, tmp_path / "crowd", whole, starts=5) == []
