"""A whole search, in the order it happens: check everything, search, score the best on the test split, show it."""

import platform
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from tune_cnn.config import TrialConfig
from tune_cnn.data.audit import audit_data
from tune_cnn.data.cache import Cache
from tune_cnn.data.dataset import ImageData
from tune_cnn.data.findings import FINDING_COLUMNS
from tune_cnn.errors import RunFolderError, WeightsError
from tune_cnn.files import sweep
from tune_cnn.interrupts import INTERRUPTED, interrupts
from tune_cnn.machine import collector_asleep, usable_cpus
from tune_cnn.planning.cost import Images
from tune_cnn.planning.forecast import Forecast
from tune_cnn.planning.gpu_share import greediest, share_of_gpu
from tune_cnn.planning.known_times import known_times
from tune_cnn.results.display import place
from tune_cnn.results.records import RunFolder
from tune_cnn.results.run_links import refuse_links_out
from tune_cnn.results.tables import write_csv
from tune_cnn.search import ray_cluster, runner
from tune_cnn.search.brought import check_apart
from tune_cnn.search.changes import (
    Asked,
    check_images,
    check_versions,
    image_counts,
    is_same_space,
    refuse_space,
)
from tune_cnn.search.check import check_folds, doubts
from tune_cnn.search.commands import new_run_command
from tune_cnn.search.driver_lock import driver_lock
from tune_cnn.search.every_machine import machines_checked
from tune_cnn.search.extension import extend_run, finish_extension
from tune_cnn.search.finals import FinalsSession
from tune_cnn.search.kept import kept_in_storage
from tune_cnn.search.places import SearchPlaces
from tune_cnn.search.remedies import without_study
from tune_cnn.search.run_facts import FORMAT, Call, RunFacts, StartingWeights, read_facts, write_facts
from tune_cnn.search.run_images import check_trials_images, open_run_images
from tune_cnn.search.screen import Screen
from tune_cnn.search.session import SearchSession
from tune_cnn.search.study import Study
from tune_cnn.search.study_file import is_half_made
from tune_cnn.search.trials_away import Kept
from tune_cnn.space.checks import combinations
from tune_cnn.space.schema import Space
from tune_cnn.urls import is_url
from tune_cnn.yaml_files import write_yaml

if TYPE_CHECKING:
    from tune_cnn.models.weights import ResolvedWeights

_PACKAGES = ("tune-cnn", "ray", "optuna", "torch", "torchvision", "timm", "albumentations", "numpy", "pillow")


def search(
    space: Space,
    places: SearchPlaces,
    screen: Screen,
    *,
    backbones: Sequence[tuple[str, str]],
    command: str,
    asked: Asked | None = None,
) -> None:
    """Run or continue a search to its end.

    Args:
        space: what to search.
        places: where.
        screen: what is shown.
        backbones: every (backbone, weights) the space may draw.
        command: how the user called it, for run.json.
        asked: how the call came to its space; None as `search` and `resume` do.

    Raises:
        InputError: the space, the data, the weights or the run folder cannot be used; nothing was started.
        SearchError: no trial gave a result, or too many failed for one cause.
        StoreError: a disk, study.db or the cluster failed; nothing that was finished is lost.
    """
    refuse_links_out(places.run.path)
    storage = places.storage
    check_apart(storage, space.data_root)
    if places.address and not places.run.run.exists():  # what has been begun may be over, and need no cluster
        ray_cluster.check_answers(places.address, insecure=places.insecure_cluster)
    with driver_lock(places.run, note=screen.note), kept_in_storage(places.run, storage, screen.note) as kept:
        if kept is None:  # else it has been done before something was written there
            sweep(places.run.path)
        finish_extension(places.run)
        default = space.config(
            space.tree_of(space.defaults()).tree, seed=space.search.seed, cpu_threads=1, weights_file=None
        )
        data = open_run_images(default, places)
        check_folds(space, data, seed=default.data.splits.seed)
        weights = {pair: _weights(pair, places) for pair in backbones}
        call = _call(space, weights, command)
        _claim(places.run, space, data, call, asked or Asked(), screen)
        study = Study.open(places.run.study, space.search)
        session = SearchSession(
            space,
            study,
            places.run,
            weights_files={pair: found.file for pair, found in weights.items()},
            data=data.fingerprint,
            on_event=screen.event,
        )
        screen.lines(
            header(space, default, data, weights={" ".join(pair): found.source for pair, found in weights.items()})
        )
        audit = audit_data(data)
        write_csv(places.run.audit, FINDING_COLUMNS, (finding.row() for finding in audit.findings))
        for text in (*audit.facts, *doubts(space, data, audit)):
            screen.note(text)
        share = partial(_gpu_share, space, len(data.classes), places.cache, screen)
        files = {found.file: found.sha256 for found in weights.values() if found.file and found.sha256}
        finals = _run(session, study, places, screen, Images.of(data), share, files, kept)
        if session.spent:
            screen.lines({"finished": session.spent})
        if told := session.estimate_text():
            screen.lines({"estimate": told})
        from tune_cnn.search.conclusion import conclude

        conclude(session, finals, places, screen, task=default.task, has_test="test" in data.splits)


def _weights(pair: tuple[str, str], places: SearchPlaces) -> "ResolvedWeights":
    """Find the starting weights, and make sure that a search which goes on starts its trials from those it had.

    Raises:
        WeightsError: they cannot be had, or are others than before.
    """
    with collector_asleep():  # torch takes seconds: what is wrong with the images is told before
        from tune_cnn.models.weights import resolve_weights

    before = read_facts(places.run).latest.weights.get(" ".join(pair)) if places.run.run.exists() else None
    if before and before.file and places.weights_dir is None and Path(before.file).is_file():
        found = resolve_weights(pair[0], before.file, weights_dir=None, cache_dir=places.cache.folder)
    else:
        found = resolve_weights(*pair, weights_dir=places.weights_dir, cache_dir=places.cache.folder)
    if before and before.sha256 != found.sha256:
        raise WeightsError(
            f"{found.file}: other weights of {pair[0]} than this search began with ({before.file}); "
            f"give the same --weights, or begin a new run: {new_run_command(places.run.path)}"
        )
    return found


def _claim(run: RunFolder, space: Space, data: ImageData, call: Call, asked: Asked, screen: Screen) -> None:
    """Write what the run folder is about, or make sure that it is about the same and add this call to the first.

    Raises:
        RunFolderError: the folder holds another search, or one that has lost its study.
    """
    images, classes = image_counts(data), data.classes
    before = read_facts(run) if run.run.exists() else None
    if before is None:
        check_trials_images(run, space, data)
        facts = RunFacts(
            **dict(call),
            space_digest=space.digest(),
            data=data.fingerprint,
            seed=space.search.seed,
            format=FORMAT,
            images=images,
            classes=classes,
        )
    else:
        if changed := check_versions(run, before, call.versions):
            screen.note(changed)
        check_images(run, before, data)
        _check_space(run, before, space, asked, screen, version=call.versions["tune-cnn"])
        known = {"space_digest": space.digest(), "format": FORMAT, "images": images, "classes": classes}
        facts = before.model_copy(update={"continued": (*before.continued, call), **known})
    if run.trial(0).path.exists() and (not run.study.exists() or is_half_made(run.study)):
        raise RunFolderError(
            f"{run.path}: holds trials but no {run.study.name}, which tells what they are; {without_study(run)}"
        )
    write_yaml(run.space, space.canonical())
    write_csv(run.skipped, ["path", "split", "reason"], [vars(skipped) for skipped in data.skipped])
    write_facts(run, facts)


def _check_space(run: RunFolder, before: RunFacts, space: Space, asked: Asked, screen: Screen, *, version: str) -> None:
    """Make sure that the run is of this space, or let it go over to it if that is asked for."""
    if is_same_space(run, before, space, version=version):
        return
    if not asked.extend:
        raise refuse_space(run, space, asked)
    screen.note("looking where the run's trials lie in the new space …")
    screen.note(extend_run(run, before, space))


def _call(space: Space, weights: Mapping[tuple[str, str], "ResolvedWeights"], command: str) -> Call:
    return Call(
        command=command,
        weights={
            " ".join(pair): StartingWeights(file=str(found.file) if found.file else None, sha256=found.sha256)
            for pair, found in weights.items()
        },
        data_root=space.data_root,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}},
        commit=_commit(space.base_dir),
        device=device_name(),
        machine=f"{platform.machine()}, {usable_cpus()} CPUs",
    )


def device_name() -> str:
    """Name the GPU of this machine, or say that there is none."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


def _run(
    session: SearchSession,
    study: Study,
    places: SearchPlaces,
    screen: Screen,
    counts: Images,
    gpu_share: Callable[[], float],
    weights: Mapping[Path, str],
    kept: Kept | None,
) -> FinalsSession | None:
    """Run what is left of the search, then of its finals; Ray is only started if anything is."""
    search = session.space.search
    finals = _finals(session, study, screen) if session.over else None
    if session.over and (finals is None or finals.over):
        return finals

    def on_lost_head(text: str) -> None:
        screen.note(f"{text}; {interrupts.farewell().removeprefix(INTERRUPTED)}")

    with ExitStack() as stack:
        running = ray_cluster.ray_running(places.address, insecure=places.insecure_cluster, say=on_lost_head)
        scratch = stack.enter_context(running)
        standard = stack.enter_context(machines_checked(session.space, places)) if places.address else None
        offered = ray_cluster.slots(search.per_trial, search.concurrent, gpu_share)
        screen.lines({"running": offered.text})
        metric, cache = search.ranked_by, places.cache
        handed = ray_cluster.hand_out(weights) if places.address else {}  # this machine's own workers see its disk

        def run_jobs(some: SearchSession | FinalsSession, is_wanted: Callable[[int], bool]) -> None:
            share = kept.share if kept else None
            elsewhere = kept.of(is_wanted, alone=places.address is None) if kept else None
            runner.run_jobs(
                some,
                offered,
                metric=metric,
                cache=cache,
                scratch=scratch,
                handed=handed,
                share=share,
                elsewhere=elsewhere,
                standard=standard,
            )

        measured = known_times(cache.folder, session.space, offered)
        session.begin_forecast(Forecast(session.space, counts, slots=offered.concurrent, measured=measured))
        if not session.over:
            with screen.watching(session):
                run_jobs(session, session.is_among_best)
            session.write_tables()
            finals = _finals(session, study, screen)
        if finals and not finals.over:
            _tell_if_short(session, screen)
            screen.note(finals.what)
            run_jobs(finals, lambda _number: True)
    return finals


def _gpu_share(space: Space, classes: int, cache: Cache, screen: Screen) -> float:
    """Find out which share of a GPU a trial of a space gets, and say so."""
    screen.note("measuring the memory that trials need of a GPU …")
    found = ray_cluster.measure_gpu_memory(greediest(space), classes, cache, screen.note)
    if found is None:
        screen.note("the worker sees no GPU, though the cluster counts one: a trial gets a whole one")
        return 1.0
    used, total = found
    share = share_of_gpu(used_mb=used, total_mb=total)
    screen.note(f"the greediest trials take {used:.0f} MiB of the {total:.0f} of a GPU: each gets {share:g} of one")
    return share


def _finals(session: SearchSession, study: Study, screen: Screen) -> FinalsSession | None:
    """Open the finals of a search that is over; None where none are asked for, or it was given up."""
    config = session.space.search.finals
    if config is None or session.gave_up:
        return None
    study.note_finals_begun(session.space.search.trials, session.space.search.hours)
    records, budget = session.records.values(), session.budget
    return FinalsSession(
        config,
        records,
        session.jobs,
        study,
        session.run,
        budget=budget,
        on_event=screen.note,
        forecast=session.forecast,
    )


def _tell_if_short(session: SearchSession, screen: Screen) -> None:
    """Say beforehand that the finals may not come to their end."""
    asked, left = session.budget.reserved_seconds, session.budget.whole_seconds_left
    if asked > left:
        screen.note(
            f"the finals are estimated at {asked / 3600:.2g} hours, but {left / 3600:.2g} are left: they may be cut "
            "short; write --hours N for more"
        )


def header(space: Space, default: TrialConfig, data: ImageData, *, weights: Mapping[str, str]) -> dict[str, str]:
    """Say what a search is about to do; `weights` tells where those of each backbone come from."""
    search = space.search
    sizes = ", ".join(f"{len(split.labels)} {name}" for name, split in data.splits.items())
    asha = f"ASHA, {search.asha.grace_epochs} epochs' grace, best 1/{search.asha.reduction}" if search.asha else "none"
    budget = f"{search.trials} trials of at most {default.training.epochs} epochs"
    if _fits_only(space):
        asha, budget = "none", f"{search.trials} trials, each fitted at once"
    root = default.data.root if is_url(default.data.root) else place(Path(default.data.root))
    learns = "" if search.sampler == "random" else f", {search.random_trials} trials at random first"
    return {
        "search": f"{space.name}, {len(space.parameters)} parameters",
        "data": f"{root}: {sizes} images, {len(data.classes)} classes, {len(data.skipped)} skipped",
        "weights": "; ".join(f"{pair}: {source}" for pair, source in weights.items()),
        "device": device_name(),
        "sampler": f"{search.sampler}, seed {search.seed}{learns}",
        "scheduler": asha,
        "budget": budget + (f", {search.hours:g} hours" if search.hours else ""),
        "metric": ", ".join(search.measures),
    }


def _fits_only(space: Space) -> bool:
    """Whether no trial is trained by epochs, because all heads are linear models that are fitted."""
    drawn = combinations(space.root, ("model.head.kind",))
    configs = (space.config(one.tree, seed=0, cpu_threads=1, weights_file=None) for one in drawn)
    return all(config.model.head.kind != "dense" for config in configs)


def _commit(folder: Path) -> str | None:
    """Name the git commit of the space's project; None outside a checkout."""
    git = shutil.which("git")
    if git is None:
        return None
    found = subprocess.run(  # noqa: S603 - a fixed command line, no shell
        [git, "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or None
