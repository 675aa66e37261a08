"""Ray Tune executes what a session proposes. With `worker.py`, its other end, the only importer of Tune.

Ray is told as little as possible: a job goes out, a small message per epoch comes back. What was tried and how it
went is the session's business and stands in study.db; Ray's own experiment state lies in a temporary folder and is
thrown away.
"""

import logging
import shutil
import signal
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from tune_cnn.search import ray_environment  # noqa: F401 - first, as Ray reads it when it is imported

# isort: split
import ray
from ray import tune
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray._private.state import state as ray_state
from ray.exceptions import AuthenticationError
from ray.tune.callback import Callback
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from tune_cnn.config import TrialConfig
from tune_cnn.data.cache import Cache
from tune_cnn.errors import SearchError
from tune_cnn.machine import usable_cpus
from tune_cnn.progress import Patience
from tune_cnn.results.failures import Failure, failure_of
from tune_cnn.search.auth_token import keep_private, make_token
from tune_cnn.search.bridge import DIED, Bridge, Elsewhere, Session
from tune_cnn.search.knock import knock
from tune_cnn.search.preflight import Standard
from tune_cnn.search.retries import MEMORY_RAN_OUT
from tune_cnn.search.slots import LiveSlots, Machine, Slots, share_out
from tune_cnn.search.worker import MESSAGE, Handed, Work, run_job, train
from tune_cnn.sections.search import Metric, PerTrial
from tune_cnn.storage.place import Share

# Tune's own limit stands still while machines come and go, so it gets one that is never reached; ours lives.
_NO_LIMIT = 1_000_000
_NODE_ID = "ray.io/node-id"
"""The label that Ray itself gives to each machine."""


@contextmanager
def ray_running(address: str | None, *, insecure: bool = False) -> Iterator[Path]:
    """Start Ray on this machine alone, or join the cluster at `address`; leave nothing behind.

    Args:
        address: of a cluster; None for this machine alone.
        insecure: whether a cluster will do that lets in whoever reaches it.

    Yields:
        A scratch folder for as long as Ray runs.

    Raises:
        SearchError: the cluster cannot be reached.
        InputError: it refuses our token, or lets in whoever reaches it.
    """
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    scratch = Path(tempfile.mkdtemp(prefix="tc-"))  # a short name: paths of sockets end at 107 letters
    try:
        with _own_sigterm():
            _connect(address, scratch, insecure=insecure)
        yield scratch
    finally:
        with _own_sigterm():
            ray.shutdown()
        shutil.rmtree(scratch, ignore_errors=True)


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


def _machines(shunned: Collection[str] = ()) -> list[Machine]:
    """Give the machines of the cluster that are alive, without the shunned ones."""
    return [_machine(node["Resources"]) for node in ray.nodes() if node["Alive"] and node["NodeID"] not in shunned]


def _request(offered: Slots, not_on: Sequence[str]) -> tune.PlacementGroupFactory:
    """Ask for what a trial is given, on any machine but some."""
    bundle = {"CPU": offered.per_trial_cpus, "GPU": offered.per_trial_gpus}
    others = {"bundle_label_selector": [{_NODE_ID: f"!in({','.join(not_on)})"}]} if not_on else {}
    return tune.PlacementGroupFactory([bundle], **others)


def _may_come() -> Machine:
    """Give what an autoscaler may let the cluster grow to; nothing without one."""
    return _machine(ray_state.get_max_resources_from_cluster_config() or {})


def _machine(resources: Mapping[str, float]) -> Machine:
    return Machine(float(resources.get("CPU", 0)), float(resources.get("GPU", 0)))


def hand_out(weights: Mapping[Path, str]) -> Handed:
    """Let workers on other machines get at the driver's files, given with their SHA-256."""
    return {str(file): (sha256, ray.put(file.read_bytes())) for file, sha256 in weights.items()}


def measure_gpu_memory(configs: Sequence[TrialConfig], classes: int, cache: Cache) -> tuple[float, float] | None:
    """Train a few steps of some configurations on a GPU of the cluster that nobody else uses meanwhile.

    Args:
        configs: whose greediest counts.
        classes: number of logits.
        cache: keeps what a worker's machine finds out.

    Returns:
        MiB that were used, and that the GPU has; None where the worker sees no GPU.

    Raises:
        SearchError: the worker died, or torch gave up.
    """
    # max_calls: the process goes when it is through, and gives the GPU's memory back.
    task = ray.remote(num_cpus=0, num_gpus=1, max_calls=1, max_retries=0)(_gpu_memory)
    try:
        found: tuple[float, float] | None = ray.get(
            task.remote([config.model_dump(mode="json") for config in configs], classes, cache)
        )
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


def run_jobs(
    session: Session,
    offered: Slots,
    *,
    metric: Metric,
    cache: Cache,
    scratch: Path,
    handed: Handed | None = None,
    patience: Patience = Patience(),  # noqa: B008 - it never changes
    work: Work | None = None,
    share: Share | None = None,
    elsewhere: Elsewhere | None = None,
    standard: Standard | None = None,
) -> None:
    """Run proposed trials until there are no more.

    Args:
        session: proposes them.
        offered: what each is given. How many run at a time follows the machines that are there.
        metric: what the best epoch is chosen by.
        cache: of each machine.
        scratch: for Ray's own records.
        handed: files of weights that machines may lack.
        patience: how long a trial may go without a sign of life.
        work: what is done with a job; None trains it.
        share: how the run is shared by a storage; None if all machines see its folder.
        elsewhere: told of trials that run where their folder cannot be seen from here.
        standard: what a machine that joins later is held against before trials run on it; None where there is none.

    Raises:
        SearchError: Ray could not go on.
        StoreError: a disk or study.db failed; what runs stays open, and goes on when the search does.
        ChangedDataError: the images are no longer those the search began with; likewise.
    """
    trainable = tune.with_resources(
        tune.with_parameters(
            run_job,
            metric=metric,
            cache=cache,
            handed=handed or {},
            patience=patience,
            work=work or train,
            share=share,
            standard=standard,
        ),
        lambda config: _request(offered, config["not_on"]),
    )
    name = f"tune-cnn-{scratch.name}-{type(session).__name__}"  # Ray keeps trainables of all searches by their names
    tune.register_trainable(name, trainable)
    shunned: set[str] = set()
    slots_now = LiveSlots(offered, lambda: _machines(shunned), may_come=_may_come())
    bridge = Bridge(session, slots_now, elsewhere, shunned=shunned)
    judge = _Judge(bridge)
    tuner = tune.Tuner(
        name,
        tune_config=tune.TuneConfig(
            search_alg=_Proposals(bridge, judge, shunned),
            scheduler=judge,
            num_samples=-1,
            max_concurrent_trials=_NO_LIMIT,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
            trial_name_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(scratch / "tune"),
            verbose=0,
            callbacks=[_Ends(bridge)],
        ),
    )
    try:
        tuner.fit()
    except tune.TuneError as error:
        if bridge.broken is None:  # else Ray has wrapped what we raised, in a traceback made into text
            raise SearchError(f"Ray could not go on: {error}") from error
    if bridge.broken is not None:
        raise bridge.broken


def _lost(trial: Any) -> Failure:
    """Say what became of a trial's worker, by what Ray says of it."""
    told = Path(trial.error_file).read_text(errors="replace") if trial.error_file else ""
    if "NODE_OUT_OF_MEMORY" in told or "running low on memory" in told:
        return Failure(MEMORY_RAN_OUT, DIED.blame)
    if "node has died" in told or "node was terminated" in told:
        return Failure("its machine is gone", DIED.blame)
    if "unavailable" in told:
        return Failure("its machine does not answer", DIED.blame)
    return DIED


class _StaysInDriver:
    """Keeps the session out of the pickles that Ray writes of its parts for a restore that we never ask for."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __deepcopy__(self, _memo: dict[int, Any]) -> Self:
        return self


class _Proposals(_StaysInDriver, Searcher):  # type: ignore[misc]
    """Ray's way of asking for the next configuration."""

    def __init__(self, bridge: Bridge, judge: "_Judge", shunned: Collection[str]) -> None:
        super().__init__()
        self._bridge, self._judge, self._shunned = bridge, judge, shunned

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Give a job, or None if there is none just now. Asked many times a second until we say that it is over."""
        self._judge.see_to_the_forgotten()
        job = self._bridge.propose(trial_id)
        if job is None:
            return str(Searcher.FINISHED) if self._bridge.over else None
        config = job.config.model_dump(mode="json")
        return {
            "number": job.number,
            "config": config,
            "folder": str(job.folder),
            "expected_data": job.expected_data,
            "note": job.note,
            "not_on": sorted(self._shunned),
        }

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: `_Ends` knows whether a trial failed, and why."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the truth is study.db."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the truth is study.db."""


class _Judge(_StaysInDriver, FIFOScheduler):  # type: ignore[misc]
    """Ray's way of asking whether a trial may go on."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self._bridge = bridge
        self._trials: dict[str, Any] = {}

    def on_trial_add(self, _controller: Any, trial: Any) -> None:
        self._trials[trial.trial_id] = trial

    def see_to_the_forgotten(self) -> None:
        """Take in those that Ray has given up and told nobody: their next worker could not be made ready."""
        running = self._bridge.running
        self._trials = {key: self._trials[key] for key in running if key in self._trials}
        for key, trial in self._trials.items():
            if trial.status == trial.ERROR:
                self._bridge.on_end(key, failed=True, lost=_lost(trial))

    def on_trial_result(self, _controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if MESSAGE not in result:  # Ray's own word that a trial is done
            return str(TrialScheduler.CONTINUE)
        goes_on = self._bridge.on_message(trial.trial_id, result[MESSAGE])
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)


class _Ends(_StaysInDriver, Callback):  # type: ignore[misc]
    """Ray's way of telling that a trial has ended."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def on_trial_complete(self, *, trial: Any, **_context: Any) -> None:
        self._bridge.on_end(trial.trial_id, failed=False)

    def on_trial_error(self, *, trial: Any, **_context: Any) -> None:
        self._bridge.on_end(trial.trial_id, failed=True, lost=_lost(trial))
