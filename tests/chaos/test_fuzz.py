"""Fuzzing, a few inputs each; `make fuzz` for as long as you like."""

from pathlib import Path

import pytest

from tests.chaos.fuzz import fuzz
from tests.chaos.fuzz_targets import TARGETS, Target


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.id)
def test_nothing_that_is_read_crashes(target: Target, tmp_path: Path) -> None:
    assert fuzz(target, tmp_path, first_seed=0, rounds=1) > 0
