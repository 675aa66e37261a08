"""The share of busy slots under real Ray, from when the driver was told what."""

from pathlib import Path

from benchmarks.ray_driver import Watched
from benchmarks.simulation import open_session
from tests.search.driving import made_space


def test_slots_count_as_busy_from_when_all_have_begun_until_nothing_is_proposed(tmp_path: Path) -> None:
    session = open_session(made_space(tmp_path), tmp_path / "run", lambda: 0.0)
    # Two slots; the second begins late. From 10 to 20 the first tells of ten epochs, the second of five.
    told_at = {0: [float(at) for at in range(1, 21)], 1: [10.0, 12.0, 14.0, 16.0, 18.0, 20.0, 22.0]}
    assert Watched(session, told_at, over_at=20.0).busy_share(2) == 15 / 20
