"""What a bridge does with jobs that are interrupted, and with a cluster that grows and shrinks. No Ray, no workers."""

from pathlib import Path

import pytest

from tests.search.driving import begin, epoch_of, facts_of, made_space, open_session
from tune_cnn.results.failures import Failure
from tune_cnn.results.records import RunFolder, State
from tune_cnn.search.bridge import DIED, Bridge, epoch_message, failure_message
from tune_cnn.search.jobs import Job
from tune_cnn.search.retries import KILLED, MEMORY_RAN_OUT
from tune_cnn.search.session import SearchSession

GONE = Failure("its machine is gone", "outage")
HUNG = failure_message(Failure("no progress for 61 s", "hang"))


class Executor:
    """Runs jobs through a bridge, one call after the other; what Ray does otherwise."""

    def __init__(self, folder: Path, *overrides: str, slots: int = 8) -> None:
        self.slots, self.lines, self._keys = slots, list[str](), 0
        space = made_space(folder, overrides=("search.asha=null", *overrides))
        self.session: SearchSession = open_session(space, RunFolder(folder / "run"), on_event=self.lines.append)
        self.bridge = Bridge(self.session, lambda: self.slots)
        self.out: dict[int, tuple[str, Job]] = {}

    def start(self) -> Job | None:
        self._keys += 1
        job = self.bridge.propose(str(self._keys))
        if job is not None:
            begin(self.session, job)
            self.out[job.number] = (str(self._keys), job)
        return job

    def start_all(self) -> list[int]:
        return [job.number for job in iter(self.start, None)]

    def tell(self, number: int, epoch: int) -> bool:
        key, job = self.out[number]
        return self.bridge.on_message(key, epoch_message(epoch_of(epoch, 0.5), facts_of(job), None))

    def lose(self, number: int, message: str = "", lost: Failure | None = None) -> None:
        key, _ = self.out.pop(number)
        if message:
            self.bridge.on_message(key, message)
        if lost is None:
            self.bridge.on_end(key, failed=True)
        else:
            self.bridge.on_end(key, failed=True, lost=lost)

    def finish(self, number: int) -> None:
        key, job = self.out.pop(number)
        for epoch in range(1, job.config.training.epochs + 1):
            assert self.bridge.on_message(key, epoch_message(epoch_of(epoch, 0.5), facts_of(job), None))
        self.bridge.on_end(key, failed=False)


def state_of(executor: Executor) -> State:
    return executor.session.records[0].state


def test_a_trial_whose_worker_was_lost_is_given_out_again_before_any_other(tmp_path: Path) -> None:
    executor = Executor(tmp_path, slots=2)
    assert executor.start_all() == [0, 1]
    assert [executor.tell(0, epoch) for epoch in (1, 2, 3)] == [True] * 3
    executor.lose(0)
    assert state_of(executor) == "running"
    told = "lost its worker (killed, or out of memory), goes on from epoch 4 (1 of 3)"
    assert executor.lines[-1] == f"trial 0 {told}"
    again = executor.start()
    assert again is not None
    assert (again.number, again.note) == (0, told)
    executor.finish(0)
    assert state_of(executor) == "complete"


def test_where_memory_ran_out_the_reason_says_what_to_do(tmp_path: Path) -> None:
    executor = Executor(tmp_path)
    for epoch, cause in ((2, MEMORY_RAN_OUT), (3, KILLED), (3, MEMORY_RAN_OUT), (4, MEMORY_RAN_OUT)):
        assert executor.start() is not None
        for each in range(1, epoch):
            executor.tell(0, each)
        executor.lose(0, lost=Failure(cause, "worker"))
    causes = "memory ran out on its machine, killed, or out of memory"
    told = f"in epochs 2, 3, 4 ({causes}); write a smaller training.batch_size"
    assert executor.session.records[0].reason.startswith(f"lost its worker 4 times, {told}")


@pytest.mark.parametrize(
    ("message", "epochs", "reason"),
    [
        pytest.param(
            "",
            [2, 2, 2, 2],
            "lost its worker 4 times, always in epoch 2 (killed, or out of memory); most likely memory ran out there: "
            "write a smaller training.batch_size or image.px, or run fewer trials at a time (--concurrent, "
            "--cpus-per-trial)",
            id="killed-at-one-place",
        ),
        pytest.param(
            "",
            [2, 3, 3, 5],
            "lost its worker 4 times, in epochs 2, 3, 5 (killed, or out of memory)",
            id="killed-at-several-places",
        ),
        pytest.param(
            HUNG, [4, 6], "hung: no progress for 61 s in epoch 6; stack in trial.log", id="hangs-a-second-time"
        ),
        pytest.param(failure_message(Failure("ValueError: wrong")), [2], "ValueError: wrong", id="an-error-of-its-own"),
    ],
)
def test_a_trial_is_tried_again_as_often_as_may_help(
    tmp_path: Path, message: str, epochs: list[int], reason: str
) -> None:
    executor = Executor(tmp_path)
    for attempt, epoch in enumerate(epochs):
        assert attempt == 0 or executor.session.records[0].state == "running"
        assert executor.start() is not None
        for each in range(1, epoch):
            executor.tell(0, each)
        executor.lose(0, message)
    record = executor.session.records[0]
    assert (record.state, record.reason) == ("failed", reason)


@pytest.mark.parametrize(
    ("message", "lost", "most"),
    [
        pytest.param("", DIED, 3, id="its-worker-is-lost"),
        pytest.param("", GONE, 3, id="its-machine-is-lost"),
        pytest.param(HUNG, None, 1, id="it-hangs"),
    ],
)
def test_a_driver_that_goes_on_counts_on(tmp_path: Path, message: str, lost: Failure | None, most: int) -> None:
    for time in range(1, most + 1):
        executor = Executor(tmp_path)  # the one before was killed
        assert executor.start() is not None
        executor.lose(0, message, lost=lost)
        assert executor.lines[-1].endswith(f"begins anew ({time} of {most})")
    executor = Executor(tmp_path)
    assert executor.start() is not None
    executor.lose(0, message, lost=lost)
    assert state_of(executor) == "failed"


def test_a_trial_that_gets_on_may_lose_any_number_of_machines(tmp_path: Path) -> None:
    executor = Executor(tmp_path)
    for epoch in (2, 3, 4, 5, 6):
        assert executor.start() is not None
        for each in range(1, epoch):
            executor.tell(0, each)
        executor.lose(0, lost=GONE)
        assert executor.lines[-1].endswith(
            f"lost its worker (its machine is gone), goes on from epoch {epoch} (1 of 3)"
        )
    for _attempt in range(3):
        assert state_of(executor) == "running"
        assert executor.start() is not None
        executor.lose(0, lost=GONE)
    told = "lost its worker 4 times, always in epoch 6 (its machine is gone)"
    assert (state_of(executor), executor.session.records[0].reason) == ("failed", told)


def test_what_became_of_a_worker_is_told(tmp_path: Path) -> None:
    executor = Executor(tmp_path)
    executor.start()
    executor.lose(0, lost=GONE)
    assert executor.lines[-1] == "trial 0 lost its worker (its machine is gone), begins anew (1 of 3)"


def test_five_trials_that_lose_their_workers_alike_end_the_search_with_the_cause(tmp_path: Path) -> None:
    executor = Executor(tmp_path)
    for number in range(5):
        for _attempt in range(4):
            assert executor.start() is not None
            executor.lose(number)
    assert executor.session.gave_up.startswith("lost its worker 4 times, always in epoch 1")
    assert executor.start() is None
    assert executor.bridge.over


def test_the_search_is_not_over_while_a_trial_may_have_to_be_tried_again(tmp_path: Path) -> None:
    executor = Executor(tmp_path, "search.trials=2")
    assert executor.start_all() == [0, 1]
    executor.finish(1)
    assert not executor.bridge.over
    executor.lose(0)
    assert not executor.bridge.over
    assert executor.start_all() == [0]
    executor.finish(0)
    assert executor.start() is None
    assert executor.bridge.over


def test_no_more_trials_are_given_out_than_there_is_room_for_now(tmp_path: Path) -> None:
    executor = Executor(tmp_path, slots=1)
    assert executor.start_all() == [0]
    executor.slots = 3
    assert executor.start_all() == [1, 2]
    executor.slots = 0
    executor.lose(1)
    assert executor.start_all() == []
    assert not executor.bridge.over
    executor.slots = 3
    assert executor.start_all() == [1]
    assert [line for line in executor.lines if "at a time" in line or "machine" in line] == [
        "the cluster has changed: 3 trials at a time from now on",
        "no machine is left that a trial could run on: waiting for one",
        "the cluster has changed: 3 trials at a time from now on",
    ]


def test_trials_that_find_no_worker_are_told_of_once(tmp_path: Path) -> None:
    now = [0.0]
    executor = Executor(tmp_path, slots=3)
    executor.bridge = Bridge(executor.session, lambda: executor.slots, clock=lambda: now[0])
    assert executor.start_all() == [0, 1, 2]
    executor.bridge.on_start(executor.out[1][0])
    told = len(executor.lines)
    for seconds in (59.0, 61.0, 1000.0):
        now[0] = seconds
        assert executor.start() is None
    (line,) = executor.lines[told:]
    assert line.startswith("2 trials have waited 60 s for a worker: the machines are taken")
    executor.lose(0)
    assert executor.start_all() == [0]
    now[0] = 1061.0
    assert executor.start() is None
    assert executor.lines[-1].startswith("1 trial has waited 60 s for a worker: ")


def test_a_trial_that_was_to_stop_when_its_worker_was_lost_is_stopped_at_its_first_word(tmp_path: Path) -> None:
    executor = Executor(tmp_path, "search.asha={grace_epochs: 1, reduction: 3}")
    executor.start_all()
    for number in (1, 2, 3):
        key, job = executor.out[number]
        executor.bridge.on_message(key, epoch_message(epoch_of(1, 0.9), facts_of(job), None))
    assert not executor.tell(0, 1)
    executor.lose(0)
    assert executor.start_all() == [0]
    assert not executor.tell(0, 1)
