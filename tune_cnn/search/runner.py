"""Ray Tune executes what a session proposes. The only importer of Ray.

Ray is told as little as possible: a job goes out, a small message per epoch comes back. What was tried and how it
went is the session's business and stands in study.db; Ray's own experiment state lies in a temporary folder and is
thrown away.
"""

import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

# Ray reads these when it is imported.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # its CSV, JSON and TensorBoard files are a second, worse truth
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that ends without an epoch must not end the search
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "30",  # a slow thread of a stopped trial would fail the next one on its worker
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # an interrupt ends the driver at once: each last epoch is on disk
    "RAY_AIR_NEW_OUTPUT": "0",
}
os.environ.update({name: os.environ.get(name, value) for name, value in _QUIET.items()})

import ray  # noqa: E402
from ray import tune  # noqa: E402
from ray._private.authentication.authentication_token_setup import (  # noqa: E402
    maybe_enable_token_auth_if_token_available,
)
from ray._private.state import state as ray_state  # noqa: E402
from ray.exceptions import AuthenticationError  # noqa: E402
from ray.tune.callback import Callback  # noqa: E402
from ray.tune.schedulers import FIFOScheduler, TrialScheduler  # noqa: E402
from ray.tune.search import Searcher  # noqa: E402

from tune_cnn.config import TrialConfig  # noqa: E402
from tune_cnn.data.cache import Cache  # noqa: E402
from tune_cnn.errors import SearchError  # noqa: E402
from tune_cnn.machine import collector_asleep, usable_cpus  # noqa: E402
from tune_cnn.models.hub import TRIAL_ENVIRONMENT  # noqa: E402
from tune_cnn.results.failures import failure_of, write_traceback  # noqa: E402
from tune_cnn.results.records import EpochRecord, TrialFacts, TrialFolder  # noqa: E402
from tune_cnn.search.auth_token import keep_private, make_token  # noqa: E402
from tune_cnn.search.bridge import Bridge, Session, epoch_message, failure_message  # noqa: E402
from tune_cnn.search.knock import knock  # noqa: E402
from tune_cnn.search.slots import Slots, share_out  # noqa: E402
from tune_cnn.sections.search import Metric, PerTrial  # noqa: E402

_MESSAGE = "tune_cnn"


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
    there, may_come = ray.cluster_resources(), ray_state.get_max_resources_from_cluster_config() or {}
    cpus, gpus = (max(float(there.get(name, 0)), float(may_come.get(name, 0))) for name in ("CPU", "GPU"))
    share = gpu_share() if per_trial.gpus == "auto" and gpus else 1.0
    return share_out(cpus=cpus, gpus=gpus, per_trial=per_trial, concurrent=concurrent, gpu_share=share)


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


def run_jobs(session: Session, offered: Slots, *, metric: Metric, cache: Cache, scratch: Path) -> None:
    """Run proposed trials until there are no more. Ray's own records go to `scratch`.

    Raises:
        SearchError: Ray could not go on.
        StoreError: a disk or study.db failed; what runs stays open, and goes on when the search does.
        ChangedDataError: the images are no longer those the search began with; likewise.
    """
    trainable = tune.with_resources(
        tune.with_parameters(_trainable, metric=metric, cache=cache),
        {"CPU": offered.per_trial_cpus, "GPU": offered.per_trial_gpus},
    )
    bridge = Bridge(session)
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=_Proposals(bridge),
            scheduler=_Judge(bridge),
            num_samples=-1,
            max_concurrent_trials=offered.concurrent,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
            trial_name_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            name=type(session).__name__,
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


def _trainable(config: dict[str, Any], *, metric: Metric, cache: Cache) -> None:
    """Run one job on a worker; Ray's function interface."""
    # Here, so that the driver need not import torch to speak to Ray, and after the hub has been told to stay silent:
    # the driver has found all weights, and a hundred workers asking at once would be turned away.
    os.environ.update(TRIAL_ENVIRONMENT)
    folder = TrialFolder(Path(config["folder"]))

    def on_epoch(epoch: EpochRecord, facts: TrialFacts, peak_memory_mb: float | None) -> None:
        tune.report({_MESSAGE: epoch_message(epoch, facts, peak_memory_mb)})  # text, as Ray flattens what is nested

    try:
        with collector_asleep():
            from tune_cnn.trial import run_trial

        run_trial(
            TrialConfig.model_validate(config["config"]),
            folder,
            metric=metric,
            cache=cache,
            expected_data=config["expected_data"],
            on_epoch=on_epoch,
        )
    except Exception as error:  # on its way up to Ray, which would tell of its cause; a full disk takes no file
        write_traceback(folder)
        tune.report({_MESSAGE: failure_message(failure_of(error))})
        raise


class _StaysInDriver:
    """Keeps the session out of the pickles that Ray writes of its parts for a restore that we never ask for."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __deepcopy__(self, _memo: dict[int, Any]) -> Self:
        return self


class _Proposals(_StaysInDriver, Searcher):  # type: ignore[misc]
    """Ray's way of asking for the next configuration."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self._bridge = bridge

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        job = self._bridge.propose(trial_id)
        if job is None:
            return str(Searcher.FINISHED)
        config = job.config.model_dump(mode="json")
        return {
            "number": job.number,
            "config": config,
            "folder": str(job.folder),
            "expected_data": job.expected_data,
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

    def on_trial_result(self, _controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if _MESSAGE not in result:  # Ray's own word that a trial is done
            return str(TrialScheduler.CONTINUE)
        goes_on = self._bridge.on_message(trial.trial_id, result[_MESSAGE])
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)


class _Ends(_StaysInDriver, Callback):  # type: ignore[misc]
    """Ray's way of telling that a trial has ended."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def on_trial_complete(self, *, trial: Any, **_context: Any) -> None:
        self._bridge.on_end(trial.trial_id, failed=False)

    def on_trial_error(self, *, trial: Any, **_context: Any) -> None:
        self._bridge.on_end(trial.trial_id, failed=True)
