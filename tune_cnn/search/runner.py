"""Ray Tune executes what a session proposes. With `worker.py`, its other end, the only importer of Tune.

Ray is told as little as possible: a job goes out, a small message per epoch comes back. What was tried and how it
went is the session's business and stands in study.db; Ray's own experiment state lies in a temporary folder and is
thrown away.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Self

from tune_cnn.search import ray_environment  # noqa: F401 - first, as Ray reads it when it is imported

# isort: split
from ray import tune
from ray.tune.callback import Callback
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from tune_cnn.data.cache import Cache
from tune_cnn.errors import StoreError
from tune_cnn.planning.slots import Slots
from tune_cnn.progress import Patience
from tune_cnn.search.bridge import Bridge, Elsewhere, Session
from tune_cnn.search.lost_workers import LostWorkers
from tune_cnn.search.preflight import Standard
from tune_cnn.search.ray_cluster import live_slots, machine_at, this_address
from tune_cnn.search.worker import MESSAGE, Handed, Work, run_job, train
from tune_cnn.sections.search import Metric
from tune_cnn.storage.place import Share

# Tune's own limit stands still while machines come and go, so it gets one that is never reached; ours lives.
_NO_LIMIT = 1_000_000
_NODE_ID = "ray.io/node-id"
"""The label that Ray itself gives to each machine."""


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
        StoreError: a disk or study.db failed, or Ray could not go on; what runs stays open, and goes on when the search
            does.
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
    bridge = Bridge(session, live_slots(offered, shunned), elsewhere, shunned=shunned)
    lost = LostWorkers(this_address(), machine_at=machine_at)
    judge = _Judge(bridge, lost)
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
            callbacks=[_Ends(bridge, lost)],
        ),
    )
    try:
        tuner.fit()
    except tune.TuneError as error:
        if bridge.broken is None:  # else Ray has wrapped what we raised, in a traceback made into text
            raise StoreError(f"Ray could not go on: {error}") from error
    if bridge.broken is not None:
        raise bridge.broken


def _request(offered: Slots, not_on: Sequence[str]) -> tune.PlacementGroupFactory:
    """Ask for what a trial is given, on any machine but some."""
    bundle = {"CPU": offered.per_trial_cpus, "GPU": offered.per_trial_gpus}
    others = {"bundle_label_selector": [{_NODE_ID: f"!in({','.join(not_on)})"}]} if not_on else {}
    return tune.PlacementGroupFactory([bundle], **others)


def _told(trial: Any) -> str:
    """Give what Ray says of what became of a trial's worker; empty if it says nothing."""
    return Path(trial.error_file).read_text(errors="replace") if trial.error_file else ""


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
            "told_epochs": job.told_epochs,
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

    def __init__(self, bridge: Bridge, lost: LostWorkers) -> None:
        super().__init__()
        self._bridge, self._lost = bridge, lost
        self._trials: dict[str, Any] = {}

    def on_trial_add(self, _controller: Any, trial: Any) -> None:
        self._trials[trial.trial_id] = trial

    def see_to_the_forgotten(self) -> None:
        """Take in those that Ray has given up and told nobody: their next worker could not be made ready."""
        running = self._bridge.running
        self._trials = {key: self._trials[key] for key in running if key in self._trials}
        for key, trial in self._trials.items():
            if trial.status == trial.ERROR:
                self._bridge.on_end(key, failed=True, lost=self._lost.failure(_told(trial)))

    def on_trial_result(self, _controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if MESSAGE not in result:  # Ray's own word that a trial is done
            return str(TrialScheduler.CONTINUE)
        goes_on = self._bridge.on_message(trial.trial_id, result[MESSAGE])
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)


class _Ends(_StaysInDriver, Callback):  # type: ignore[misc]
    """Ray's way of telling that a trial has begun, or ended."""

    def __init__(self, bridge: Bridge, lost: LostWorkers) -> None:
        self._bridge, self._lost = bridge, lost

    def on_step_end(self, **_context: Any) -> None:
        if self._bridge.broken is not None:  # else Ray waits for all that runs or waits for a machine, and says nothing
            raise tune.TuneError("the search has ended")

    def on_trial_start(self, *, trial: Any, **_context: Any) -> None:
        self._bridge.on_start(trial.trial_id)

    def on_trial_complete(self, *, trial: Any, **_context: Any) -> None:
        self._bridge.on_end(trial.trial_id, failed=False)

    def on_trial_error(self, *, trial: Any, **_context: Any) -> None:
        self._bridge.on_end(trial.trial_id, failed=True, lost=self._lost.failure(_told(trial)))
