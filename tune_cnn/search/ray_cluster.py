"""Ray itself: started here or joined elsewhere, which machines it has, and what is done on them besides trials."""

import logging
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tune_cnn.search import ray_environment  # noqa: F401 - first, as Ray reads it when it is imported

# isort: split
import ray
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray._private.state import state as ray_state
from ray.exceptions import AuthenticationError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tune_cnn.config import TrialConfig
from tune_cnn.data.cache import Cache
from tune_cnn.errors import SearchError
from tune_cnn.machine import usable_cpus
from tune_cnn.planning.slots import LiveSlots, Machine, Slots, share_out
from tune_cnn.results.failures import failure_of
from tune_cnn.search.auth_token import keep_private, make_token
from tune_cnn.search.handout import pieces_of
from tune_cnn.search.head_watch import head_watched
from tune_cnn.search.knock import knock
from tune_cnn.search.worker import Handed
from tune_cnn.sections.search import PerTrial

_SECONDS_TO_MEASURE = 120


@contextmanager
def ray_running(
    address: str | None, *, insecure: bool = False, say: Callable[[str], None] = lambda _text: None
) -> Iterator[Path]:
    """Start Ray on this machine alone, or join the cluster at `address`; leave nothing behind.

    Args:
        address: of a cluster; None for this machine alone.
        insecure: whether a cluster will do that lets in whoever reaches it.
        say: told in a line when Ray's head no longer answers.

    Yields:
        A scratch folder for as long as Ray runs.

    Raises:
        SearchError: the cluster cannot be reached, or Ray does not start on this machine.
        InputError: it refuses our token, or lets in whoever reaches it.
    """
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    scratch = Path(tempfile.mkdtemp(prefix="tc-"))  # a short name: paths of sockets end at 107 letters
    try:
        with _own_sigterm():
            _connect(address, scratch, insecure=insecure)
        with head_watched(ray.get_runtime_context().gcs_address, say):
            yield scratch
    finally:
        with _own_sigterm():
            ray.shutdown()
        shutil.rmtree(scratch, ignore_errors=True)


def check_answers(address: str, *, insecure: bool) -> None:
    """Make sure beforehand that a cluster would let us in: to look through all images first may take very long.

    Raises:
        SearchError: the cluster cannot be reached.
        InputError: it refuses our token, or lets in whoever reaches it.
    """
    keep_private()
    knock(address, insecure=insecure)


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Answer SIGTERM as before once the block is over: Ray puts its own answer in place, which exits with no word."""
    ours = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit:  # it came while Ray's was in place
        signal.signal(signal.SIGTERM, ours)
        signal.raise_signal(signal.SIGTERM)
        raise
    finally:
        signal.signal(signal.SIGTERM, ours)


def _connect(address: str | None, scratch: Path, *, insecure: bool) -> None:
    if address is None:
        make_token()
        keep_private()
        _start(scratch)
        return
    keep_private()
    there = knock(address, insecure=insecure)
    if address == "auto":
        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    try:
        ray.init(address=there, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError, AuthenticationError) as error:  # ConnectionError is a kind of OSError
        raise SearchError(
            f"--address {address}: Ray does not join the cluster ({failure_of(error).reason}); run the search on one "
            "of its machines, see docs/cluster.md"
        ) from error


def _start(scratch: Path) -> None:
    """Start Ray on this machine.

    Raises:
        SearchError: it does not start.
    """
    try:
        # "local" says: never join whatever Ray happens to run on this host.
        ray.init(
            address="local",
            num_cpus=usable_cpus(),
            object_store_memory=128 * 2**20,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=str(scratch),
        )
    except Exception as error:  # that, and no kind of it, is what Ray raises where a part of it is not up in time
        raise SearchError(
            f"Ray does not start on this machine ({failure_of(error).reason}); if it is very busy, call again later; "
            f"if {scratch.parent} is full, or far down, set TMPDIR to another folder"
        ) from error


def slots(per_trial: PerTrial, concurrent: int | None, gpu_share: Callable[[], float]) -> Slots:
    """Share the cluster's resources out to trials: those of the machines that run, and of those that would come.

    Args:
        per_trial: what one trial asks for.
        concurrent: at most so many; None for as many as fit.
        gpu_share: finds out what `auto` stands for; called where it is asked for and there is a GPU.

    Raises:
        InputError: one trial asks for more than there is.
    """
    there, may_come = _machine(ray.cluster_resources()), _may_come()
    cpus, gpus = max(there.cpus, may_come.cpus), max(there.gpus, may_come.gpus)
    share = gpu_share() if per_trial.gpus == "auto" and gpus else 1.0
    offered = share_out(cpus=cpus, gpus=gpus, per_trial=per_trial, concurrent=concurrent, gpu_share=share)
    return offered.fitted(_machines(), may_come=may_come)


def live_slots(offered: Slots, shunned: Collection[str] = ()) -> LiveSlots:
    """Count from now on how many trials can run at a time, on machines that come and go, but for those shunned."""
    return LiveSlots(offered, lambda: _machines(shunned), may_come=_may_come())


def machine_ids() -> frozenset[str]:
    """Name the machines of the cluster that are alive, as Ray does."""
    return frozenset(str(node["NodeID"]) for node in ray.nodes() if node["Alive"])


def this_address() -> str:
    """Give the address by which Ray knows this machine."""
    return str(ray.util.get_node_ip_address())


def machine_at(address: str) -> str:
    """Give Ray's id of the machine at an address; empty if there is none, or several share it."""
    found = [str(node["NodeID"]) for node in ray.nodes() if node["Alive"] and node["NodeManagerAddress"] == address]
    return found[0] if len(found) == 1 else ""


def on_other_machines(
    task: Callable[..., dict[str, Any]], argument: Mapping[str, Any], *, seconds: float
) -> dict[str, dict[str, Any] | str]:
    """Run a function once on each other machine of the cluster that runs trials.

    Args:
        task: of the package, so that the machine's own version of it runs; takes and gives plain data.
        argument: handed to it.
        seconds: that all of them together may take.

    Returns:
        What it gave, by the machine's name and address; or in words why it gave nothing. Empty without other machines.
    """
    own = ray.get_runtime_context().get_node_id()
    nodes = [node for node in ray.nodes() if node["Alive"] and node["NodeID"] != own and node["Resources"].get("CPU")]
    remote = ray.remote(num_cpus=0, max_retries=0)(task)
    asked = {
        f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})": remote.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(dict(argument))
        for node in nodes
    }
    until = time.monotonic() + seconds
    return {name: _answer(answer, seconds, until) for name, answer in asked.items()}


def _answer(answer: Any, seconds: float, until: float) -> dict[str, Any] | str:
    try:
        found: dict[str, Any] = ray.get(answer, timeout=max(0.0, until - time.monotonic()))
    except ray.exceptions.GetTimeoutError:
        return f"gave no answer within {seconds:.0f} seconds; see to it, or take it out of the cluster"
    except ray.exceptions.RayError as error:
        return f"cannot run tune-cnn ({failure_of(error).reason}); install the same version as on the driver's machine"
    return found


def _machines(shunned: Collection[str] = ()) -> list[Machine]:
    """Give the machines of the cluster that are alive, without the shunned ones."""
    return [_machine(node["Resources"]) for node in ray.nodes() if node["Alive"] and node["NodeID"] not in shunned]


def _may_come() -> Machine:
    """Give what an autoscaler may let the cluster grow to; nothing without one."""
    return _machine(ray_state.get_max_resources_from_cluster_config() or {})


def _machine(resources: Mapping[str, float]) -> Machine:
    return Machine(float(resources.get("CPU", 0)), float(resources.get("GPU", 0)))


def hand_out(weights: Mapping[Path, str]) -> Handed:
    """Let workers on other machines get at the driver's files, given with their SHA-256."""
    return {str(file): (sha256, [*map(ray.put, pieces_of(file))]) for file, sha256 in weights.items()}


def measure_gpu_memory(
    configs: Sequence[TrialConfig], classes: int, cache: Cache, say: Callable[[str], None]
) -> tuple[float, float] | None:
    """Train a few steps of some configurations on a GPU of the cluster that nobody else uses meanwhile.

    Args:
        configs: whose greediest counts.
        classes: number of logits.
        cache: keeps what a worker's machine finds out.
        say: told in a line if it takes long.

    Returns:
        MiB that were used, and that the GPU has; None where the worker sees no GPU.

    Raises:
        SearchError: the worker died, or torch gave up.
    """
    # max_calls: the process goes when it is through, and gives the GPU's memory back.
    task = ray.remote(num_cpus=0, num_gpus=1, max_calls=1, max_retries=0)(_gpu_memory)
    try:
        answer = task.remote([config.model_dump(mode="json") for config in configs], classes, cache)
        if not ray.wait([answer], timeout=_SECONDS_TO_MEASURE)[0]:
            say(
                f"no answer within {_SECONDS_TO_MEASURE} seconds, still waiting: others use all GPUs, or machines "
                "with one have yet to start; --gpus-per-trial with a number needs no measurement"
            )
        found: tuple[float, float] | None = ray.get(answer)
    except ray.exceptions.RayError as error:
        raise SearchError(
            f"the memory that trials need of a GPU could not be measured: {failure_of(error).reason}; write "
            "--gpus-per-trial with a number"
        ) from error
    return found


def _gpu_memory(configs: Sequence[dict[str, Any]], classes: int, cache: Cache) -> tuple[float, float] | None:
    """Measure on a worker; a Ray task."""
    from tune_cnn.training.gpu_memory import gpu_memory

    found = gpu_memory([TrialConfig.model_validate(config) for config in configs], classes, cache)
    return (found.used_mb, found.total_mb) if found else None
