"""What happens on a worker: one job of Ray's, from its config to its last message, watched that it gets on."""

import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from tune_cnn.search import ray_environment  # noqa: F401 - first, as Ray reads it when it is imported

# isort: split
import ray
from ray import tune

from tune_cnn import progress
from tune_cnn.config import TrialConfig
from tune_cnn.data.cache import Cache
from tune_cnn.errors import DivergedError, SearchError
from tune_cnn.machine import collector_asleep
from tune_cnn.models.hub import TRIAL_ENVIRONMENT
from tune_cnn.progress import Patience
from tune_cnn.results.failures import Failure, failure_of, write_traceback
from tune_cnn.results.records import EpochRecord, TrialFacts, TrialFolder
from tune_cnn.search.bridge import epoch_message, failure_message
from tune_cnn.search.handout import put_in_place
from tune_cnn.search.preflight import Standard
from tune_cnn.search.tenure import Tenure, holding
from tune_cnn.search.watchdog import watched
from tune_cnn.sections.search import Metric
from tune_cnn.storage.place import Share, TrialPlace, trial_place

MESSAGE = "tune_cnn"
"""Of what is reported: the name of the one text that we read."""
_SECONDS_TO_TELL = 30.0

OnEpoch = Callable[[EpochRecord, TrialFacts, float | None], Any]
Handed = Mapping[str, tuple[str, Sequence[Any]]]
"""By the path of a file: its SHA-256, and Ray's references to the pieces of its content."""


class Work(Protocol):
    """What a worker does with a job; a test may do something quicker than training."""

    def __call__(
        self,
        config: TrialConfig,
        folder: TrialFolder,
        *,
        metric: Metric,
        cache: Cache,
        expected_data: str | None,
        on_epoch: OnEpoch,
        on_read_back: Callable[[Mapping[str, Any]], Any],
        before_keeping: Callable[[], None],
    ) -> Any:
        """Work on one trial, telling of each epoch; see `tune_cnn.trial.run_trial`."""


def train(config: TrialConfig, folder: TrialFolder, **given: Any) -> None:
    """Train a trial."""
    with collector_asleep():  # here, so that the driver need not import torch to speak to Ray
        from tune_cnn.trial import run_trial

    run_trial(config, folder, **given)


def run_job(
    config: dict[str, Any],
    *,
    metric: Metric,
    cache: Cache,
    handed: Handed,
    patience: Patience,
    work: Work,
    share: Share | None = None,
    standard: Standard | None = None,
) -> None:
    """Run one job on a worker; Ray's function interface."""
    if standard is not None:
        _check_machine(standard)
    # Before the first import of the hub: the driver has found all weights, and a hundred workers asking at once would
    # be turned away.
    os.environ.update(TRIAL_ENVIRONMENT)
    place: TrialPlace | None = None
    try:
        trial = TrialConfig.model_validate(config["config"])
        place = trial_place(Path(config["folder"]), trial, share, cache.folder, told_epochs=config["told_epochs"])
        _run_there(place, trial, config, metric=metric, cache=cache, handed=handed, patience=patience, work=work)
    except Exception as error:  # on its way up to Ray, which would tell of its cause
        tune.report({MESSAGE: failure_message(failure_of(error), away=None if place is None else place.is_away)})
        if not isinstance(error, DivergedError):  # it leaves a process as it was: Ray would start another for nothing
            raise


def _run_there(
    place: TrialPlace,
    trial: TrialConfig,
    config: dict[str, Any],
    *,
    metric: Metric,
    cache: Cache,
    handed: Handed,
    patience: Patience,
    work: Work,
) -> None:
    """Run a job in its folder on this machine."""
    folder, read_back = place.folder, list[Mapping[str, Any]]()

    def on_epoch(epoch: EpochRecord, facts: TrialFacts, peak_memory_mb: float | None) -> None:
        with progress.unmeasured():  # the driver may have much to do
            held = read_back[-1] if read_back else None
            read_back.clear()
            message = epoch_message(epoch, facts, peak_memory_mb, place.after_epoch(), read_back=held)
            tune.report({MESSAGE: message})  # text, as Ray flattens what is nested

    try:
        _note(folder, config["note"])
        with watched(folder.log, patience, _end_hung_process), holding(folder) as tenure:
            _bring_weights(trial, handed)
            work(
                trial,
                folder,
                metric=metric,
                cache=cache,
                expected_data=config["expected_data"],
                on_epoch=on_epoch,
                on_read_back=read_back.append,
                before_keeping=partial(_end_if_replaced, tenure),
            )
        place.finish()
    except SystemExit:  # so Ray ends a trial that is stopped, and does not wait for long
        place.finish(hurried=True)
        raise
    except Exception:  # on its way up
        write_traceback(folder)
        place.finish()
        raise


def _check_machine(standard: Standard) -> None:
    """Make sure that this machine is such as the driver's, and tell if it is not, or if that cannot be found out.

    Raises:
        SearchError: the job is to run elsewhere, or later.
    """
    machine = ray.get_runtime_context().get_node_id()
    try:
        failure = standard.misfit(machine)
    except OSError as error:
        failure = Failure(f"{platform.node()}: {error}", "machine", machine)
    if failure is not None:
        tune.report({MESSAGE: failure_message(failure)})
        raise SearchError(failure.reason)


def _end_if_replaced(tenure: Tenure) -> None:
    """End a process that was given up, without a word in a folder that belongs to another one by now."""
    if not tenure.lasts:
        os.kill(os.getpid(), signal.SIGKILL)


def _note(folder: TrialFolder, text: str) -> None:
    """Let a trial's log say that it was interrupted and goes on, and where."""
    if text:
        folder.path.mkdir(parents=True, exist_ok=True)
        with folder.log.open("a") as log:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} WARNING {text}, on {platform.node()}\n")


def _bring_weights(config: TrialConfig, handed: Handed) -> None:
    """Make sure that this machine has the weights that a trial starts from."""
    file = config.model.weights_file
    if file is not None and file in handed:
        sha256, pieces = handed[file]
        put_in_place(Path(file), sha256, lambda: (bytes(ray.get(piece)) for piece in pieces))


def _end_hung_process(silent_seconds: float) -> None:
    """Tell that the trial hangs, and end with the process all that it holds."""
    message = {MESSAGE: failure_message(Failure(f"no progress for {silent_seconds:.0f} s", "hang"))}
    # Telling may hang too; who is not told takes the worker for lost, which it is.
    telling = threading.Thread(target=tune.report, args=(message,), daemon=True)
    telling.start()
    telling.join(_SECONDS_TO_TELL)
    os.kill(os.getpid(), signal.SIGKILL)
