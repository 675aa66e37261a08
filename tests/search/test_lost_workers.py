"""What is told of a lost worker, by what Ray 2.60 says of it; each text is the part that differs, as Ray wrote it."""

import itertools

import pytest

from tune_cnn.search.lost_workers import LostWorkers

DIED = """\
The actor died unexpectedly before finishing this task.
	class_name: ImplicitFunc
	pid: 11399
	ip: 192.0.2.2
"""
UNKNOWN = f"""{DIED}\
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker \
unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) the process was \
killed by the OOM killer due to high memory usage, (2) ray stop --force was called, or (3) the worker crashed \
unexpectedly due to SIGSEGV or another unexpected error.
"""
RAYS_GUARD = f"""{DIED}\
The actor is dead because its worker process has died. Worker exit type: NODE_OUT_OF_MEMORY Worker exit detail: Task \
was killed due to the node running low on memory.
"""
NODE = f"""{DIED}The actor died because its node has died. Node Id: 65b22df7
"""
HERE, ELSEWHERE = "192.0.2.2", "192.0.2.3"


@pytest.mark.parametrize(
    ("told", "here", "kills", "reason", "blame"),
    [
        pytest.param(UNKNOWN, HERE, (0, 0), "killed, or out of memory", "worker", id="killed"),
        pytest.param(UNKNOWN, HERE, (3, 4), "memory ran out on its machine", "worker", id="by-this-kernel-for-memory"),
        pytest.param(UNKNOWN, ELSEWHERE, (3, 4), "killed, or out of memory", "worker", id="on-another-machine"),
        pytest.param(RAYS_GUARD, ELSEWHERE, (0, 0), "memory ran out on its machine", "worker", id="by-ray-for-memory"),
        pytest.param(NODE, HERE, (3, 4), "its machine is gone", "outage", id="with-its-machine"),
        pytest.param("The actor is temporarily unavailable", HERE, (0, 0), "its machine does not answer", "outage",
                     id="out-of-reach"),
        pytest.param("", HERE, (0, 1), "killed, or out of memory", "worker", id="nothing-is-said"),
    ],
)  # fmt: skip
def test_what_became_of_a_worker_is_told_as_far_as_it_is_known(
    told: str, here: str, kills: tuple[int, int], reason: str, blame: str
) -> None:
    found = LostWorkers(here, iter(kills).__next__).failure(told)
    assert (found.reason, found.blame) == (reason, blame)


def test_a_kill_of_the_kernel_explains_one_loss() -> None:
    kills = itertools.chain((3, 4), itertools.repeat(4))
    lost = LostWorkers(HERE, kills.__next__)
    told = [lost.failure(UNKNOWN).reason for _ in range(2)]
    assert told == ["memory ran out on its machine", "killed, or out of memory"]


NO_PACKAGE = """\
ray::ImplicitFunc.train() (pid=7, ip=192.0.2.3, actor_id=ab, repr=train)
RuntimeError: The actor with name ImplicitFunc failed to import on the worker. This may be because needed library \
dependencies are not installed in the worker environment:
ModuleNotFoundError: No module named 'tune_cnn'
"""
OLDER = """\
ray::ImplicitFunc.train() (pid=7, ip=192.0.2.3, actor_id=ab, repr=train)
TypeError: run_job() got an unexpected keyword argument 'standard'
"""


@pytest.mark.parametrize("told", [NO_PACKAGE, OLDER], ids=["no-package", "an-older-one"])
@pytest.mark.parametrize(
    ("machine", "blame"),
    [pytest.param("65b2", "machine", id="known"), pytest.param("", "worker", id="one-of-several-at-an-address")],
)
def test_a_machine_of_another_version_is_blamed_and_not_its_memory(told: str, machine: str, blame: str) -> None:
    found = LostWorkers(HERE, lambda: 0, machine_at={ELSEWHERE: machine}.__getitem__).failure(told)
    assert (found.blame, found.machine) == (blame, machine)
    assert found.reason.startswith(f"{ELSEWHERE}: has no tune-cnn, or another")
