"""Fuzzing, for moments; `make fuzz` for as long as you like."""

import random
from pathlib import Path

import pytest

from tests.chaos.fuzz import fuzz
from tests.chaos.fuzz_targets import TARGETS, Target

SEED = random.SystemRandom().randrange(10**6)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.id)
def test_nothing_that_is_read_crashes(target: Target, tmp_path: Path) -> None:
    print(f"seed {SEED}")
    assert fuzz(target, tmp_path, seconds=0.5, first_seed=SEED) > 0
