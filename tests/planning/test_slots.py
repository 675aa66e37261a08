import pytest

from tune_cnn.errors import InputError
from tune_cnn.planning.slots import LiveSlots, Machine, Slots


@pytest.mark.parametrize(
    ("slots", "machines", "may_come", "fit"),
    [
        pytest.param(Slots(2, 0, 1, 0, 2), [Machine(2, 0)], Machine(0, 0), 2, id="one-machine"),
        pytest.param(Slots(2, 0, 1, 0, 2), [Machine(2, 0), Machine(3, 0)], Machine(0, 0), 5, id="two-machines"),
        pytest.param(Slots(3, 0, 1, 0, 2), [Machine(1.5, 0)] * 2, Machine(0, 0), 2, id="no-trial-is-on-two-machines"),
        pytest.param(Slots(9, 2, 1, 0.4, 4), [Machine(9, 2)], Machine(0, 0), 4, id="no-trial-is-on-two-gpus"),
        pytest.param(Slots(9, 1, 1, 0.1, 9), [Machine(90, 1)], Machine(0, 0), 10, id="ten-tenths-of-a-gpu"),
        pytest.param(Slots(9, 4, 1, 2, 2), [Machine(9, 4)], Machine(0, 0), 2, id="two-gpus-each"),
        pytest.param(Slots(9, 1, 1, 1, 1), [Machine(9, 0), Machine(4, 1)], Machine(0, 0), 1, id="head-without-a-gpu"),
        pytest.param(Slots(4, 0, 1, 0, 4), [Machine(4, 0)], Machine(16, 0), 16, id="those-that-may-come-count"),
        pytest.param(Slots(4, 0, 1, 0, 3, most=3), [Machine(4, 0)] * 2, Machine(0, 0), 3, id="no-more-than-asked-for"),
        pytest.param(Slots(4, 0, 1, 0, 4), [], Machine(0, 0), 0, id="no-machine"),
    ],
)
def test_trials_fit_on_the_machines_that_are_there(
    slots: Slots, machines: list[Machine], may_come: Machine, fit: int
) -> None:
    assert slots.on(machines, may_come=may_come) == fit


def test_a_trial_that_fits_on_no_machine_is_refused_though_all_together_have_enough() -> None:
    with pytest.raises(InputError, match="a trial asks for 2 CPUs, but no machine of the cluster has as much; write"):
        Slots(3, 0, 2, 0, 1).fitted([Machine(1.5, 0)] * 2)
    assert Slots(3, 0, 1, 0, 3).fitted([Machine(1.5, 0)] * 2).concurrent == 2


def test_machines_that_come_and_go_are_seen_within_seconds_and_not_asked_for_more_often() -> None:
    now, machines, looks = [0.0], [Machine(2, 0)], list[float]()

    def look() -> list[Machine]:
        looks.append(now[0])
        return machines

    live = LiveSlots(Slots(2, 0, 1, 0, 2), look, may_come=Machine(0, 0), clock=lambda: now[0])
    assert [live() for _ in range(100)] == [2] * 100
    machines.append(Machine(4, 0))
    now[0] = 2.0
    assert live() == 6
    machines.clear()
    now[0] = 4.0
    assert live() == 0
    assert looks == [0.0, 2.0, 4.0]
