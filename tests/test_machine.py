import pytest

from tune_cnn import machine


def test_at_least_one_cpu_can_be_used() -> None:
    assert machine.usable_cpus() >= 1


@pytest.mark.skipif(not machine._CLEAR_REFS.exists(), reason="only Linux can forget a peak")
def test_the_peak_of_the_past_is_forgotten() -> None:
    machine.reset_peak_memory()
    before = machine.peak_memory_mb()
    block = b"x" * (300 * 2**20)
    assert machine.peak_memory_mb() >= before + 250
    del block
    machine.reset_peak_memory()
    assert machine.peak_memory_mb() <= before + 100
