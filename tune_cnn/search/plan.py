"""`tune-cnn plan`: what a search will cost, by short measurements on this machine and simulated searches."""

import math
import random
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tune_cnn import machine
from tune_cnn.data.cache import Cache
from tune_cnn.data.dataset import open_data
from tune_cnn.errors import WeightsError
from tune_cnn.search.check import check_folds
from tune_cnn.search.cost import Costs, Images, Price
from tune_cnn.search.known_times import keep_times
from tune_cnn.search.measuring import Measured, Note, Pool, measure, trials_beside
from tune_cnn.search.open_space import OpenedSpace
from tune_cnn.search.simulate import Simulated, simulate
from tune_cnn.search.slots import Slots, share_out
from tune_cnn.search.work import ModelKey, Work
from tune_cnn.space.schema import Space
from tune_cnn.training.busy import kept_busy

SIMULATED = 100
_MOST_SIMULATED_TRIALS = 20_000
"""In all simulations of one question together: some seconds."""
START_SECONDS = 8.0
"""From the command to the first trial: imports, the audit, Ray. Measured on 2 cores."""
_ROUND_TRIP_SECONDS = 0.3
"""Between Ray and a worker from one trial to the next."""
_MOST_TRIALS = 5000


@dataclass(frozen=True)
class Spread:
    """A figure of many simulated searches."""

    p10: float
    p50: float
    p90: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> "Spread":
        """Give the tenth, fiftieth and ninetieth percentile of one figure at least."""
        ordered = sorted(figures)
        return cls(*(ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.1, 0.5, 0.9)))

    def scaled(self, factor: float) -> "Spread":
        """Give it in another unit."""
        return Spread(self.p10 * factor, self.p50 * factor, self.p90 * factor)


@dataclass(frozen=True)
class EpochCost:
    """Seconds of an epoch of one network at one freeze depth."""

    frozen_units: int
    units: int
    batch_size: int
    seconds: float


@dataclass(frozen=True)
class ModelPlan:
    """One network at one image size."""

    key: ModelKey
    share: float
    """Of the configurations that the space may draw."""
    epochs: tuple[EpochCost, ...]
    peak_memory_mb: float | None
    left_out_errors: Mapping[int, float]
    measured: bool


@dataclass(frozen=True)
class Plan:
    """What a search will cost."""

    name: str
    trials: int
    offered: Slots
    device: str
    images: Images
    models: tuple[ModelPlan, ...]
    simulated: int
    hours: Spread
    finals_hours: Spread
    begun: Spread
    stopped: Spread
    epochs: Spread
    cache_gb: Mapping[str, Spread]
    """Of what all trials share, by kind: decoded images, views, features."""
    cache_free_gb: float
    checkpoint_gb: float
    run_free_gb: float
    memory_gb: float | None
    """Of all trials at a time, at most; on a GPU: of those that share it."""
    memory_there_gb: float
    hours_asked: float | None
    fits: Spread | None
    """Trials that the asked hours have room for; None without hours."""
    will_not_fit: tuple[str, ...]
    notes: tuple[str, ...]
    load: float
    """How much longer everything took than on a machine without other work."""


def plan_search(opened: OpenedSpace, *, cache: Cache, weights_dir: Path | None, run_dir: Path, note: Note) -> Plan:
    """Measure, simulate, and say what a search of this space will cost on this machine. Trains nothing to an end.

    Args:
        opened: the space.
        cache: where decoded images are kept, and what was measured, for the forecasts of searches.
        weights_dir: the user's folder of weights.
        run_dir: where the run folder would go; need not be there.
        note: told what is being done.

    Raises:
        InputError: the space, the data or the weights cannot be used.
    """
    space, pool = opened.space, Pool.drawn(opened.space)
    default = pool.configs[0]
    offered = share_out(
        cpus=machine.usable_cpus(), gpus=_gpus(), per_trial=space.search.per_trial, concurrent=space.search.concurrent
    )
    beside = trials_beside(offered)
    with kept_busy(default, beside) as wait:
        note("opening the images …")
        data = open_data(default.data, default.image, cache=cache)
        check_folds(space, data, seed=default.data.splits.seed)
        missing = _missing_weights(opened, weights_dir, cache)
        if beside:
            note(f"waiting for {beside} processes that train beside what is timed, as the other trials will …")
        wait()
        opening = _seconds_of(lambda: open_data(default.data, default.image, cache=cache))
        measured = measure(pool, data, scratch=_made(cache.folder), note=note)
    costs = Costs(
        models=measured.models,
        images=measured.images,
        counts=Images.of(data),
        begin_seconds=opening + _ROUND_TRIP_SECONDS,
        start_seconds=START_SECONDS,
        decoded_px=(default.image.px,),
        decoding_threads=min(8, machine.usable_cpus()),
    )
    with suppress(OSError):  # then searches do without
        keep_times(cache.folder, space, offered, costs)
    note("simulating searches …")
    return _planned(space, pool, costs, measured, offered, cache.folder, run_dir, missing)


def _planned(
    space: Space,
    pool: Pool,
    costs: Costs,
    measured: Measured,
    offered: Slots,
    cache_dir: Path,
    run_dir: Path,
    missing: Sequence[str],
) -> Plan:
    prices = [costs.price(work) for work in pool.works]
    played = simulations(space, prices, costs, offered.concurrent)
    cache = {kind: _built_gb(played, kind) for kind in ("images", "views", "features")}
    checkpoints = _checkpoint_gb(space, measured, offered)
    memory = _memory_gb(measured, offered)
    cache_free, run_free, there = free_gb(cache_dir), free_gb(run_dir), _memory_there_gb(offered)
    short = [
        *missing,
        *_short("the cache", sum(spread.p90 for spread in cache.values()), cache_free, cache_dir),
        *_short("checkpoints", checkpoints, run_free, run_dir),
    ]
    if memory and memory > there:
        short.append(
            f"memory: {offered.concurrent} trials at a time take up to {memory:.1f} GB, but there are {there:.1f}; "
            "write a smaller --concurrent, training.batch_size or image.px"
        )
    return Plan(
        name=space.name,
        trials=space.search.trials,
        offered=offered,
        device=device_name(),
        images=costs.counts,
        models=tuple(_model_plans(pool, costs, measured)),
        simulated=len(played),
        hours=Spread.of([one.seconds for one in played]).scaled(1 / 3600),
        finals_hours=Spread.of([one.finals_seconds for one in played]).scaled(1 / 3600),
        begun=Spread.of([one.trials for one in played]),
        stopped=Spread.of([one.stopped for one in played]),
        epochs=Spread.of([one.epochs for one in played]),
        cache_gb={kind: spread for kind, spread in cache.items() if spread.p90},
        cache_free_gb=cache_free,
        checkpoint_gb=checkpoints,
        run_free_gb=run_free,
        memory_gb=memory,
        memory_there_gb=there,
        hours_asked=space.search.hours,
        fits=_fits(space, prices, costs, offered.concurrent, played),
        will_not_fit=tuple(short),
        notes=tuple(_notes(measured)),
        load=measured.load,
    )


def simulations(space: Space, prices: Sequence[Price], costs: Costs, slots: int) -> list[Simulated]:
    """Simulate many searches of a space, the same ones every time.

    Args:
        space: whose budget is simulated.
        prices: of draws, the defaults first.
        costs: start-up and what is shared.
        slots: trials at a time.
    """
    search = space.search
    count = max(20, min(SIMULATED, _MOST_SIMULATED_TRIALS // search.trials))
    left = math.inf if search.hours is None else search.hours * 3600
    return [
        simulate(
            search,
            prices,
            slots=slots,
            rng=random.Random(seed),  # noqa: S311 - the same plan for the same measurements
            first=prices[0],
            start_seconds=costs.start_seconds,
            seconds_left=left,
        )
        for seed in range(count)
    ]


def _fits(
    space: Space, prices: Sequence[Price], costs: Costs, slots: int, played: Sequence[Simulated]
) -> Spread | None:
    """Say how many trials the asked hours have room for, however many were asked for."""
    search = space.search
    if search.hours is None:
        return None
    per_trial = Spread.of([(one.seconds - one.finals_seconds) / max(1, one.trials) for one in played]).p50
    enough = math.ceil(2 * search.hours * 3600 / max(per_trial, 1e-3)) + slots
    unbounded = search.model_copy(update={"trials": min(_MOST_TRIALS, enough)})
    count = max(10, min(SIMULATED, _MOST_SIMULATED_TRIALS // unbounded.trials))
    found = [
        simulate(
            unbounded,
            prices,
            slots=slots,
            rng=random.Random(seed),  # noqa: S311
            first=prices[0],
            start_seconds=costs.start_seconds,
            seconds_left=search.hours * 3600,
        ).trials
        for seed in range(count)
    ]
    return Spread.of(found)


def _model_plans(pool: Pool, costs: Costs, measured: Measured) -> list[ModelPlan]:
    left_out = {one.key for one in measured.left_out}
    plans = []
    for one in pool.candidates():
        times = measured.models[one.key]
        example = next(work for work in pool.works if work.model == one.key)
        plans.append(
            ModelPlan(
                key=one.key,
                share=one.share,
                epochs=tuple(_epoch_cost(costs, example, depth) for depth in one.depths),
                peak_memory_mb=times.peak_memory_mb,
                left_out_errors=times.left_out_errors(),
                measured=one.key not in left_out,
            )
        )
    return plans


def _epoch_cost(costs: Costs, work: Work, depth: int) -> EpochCost:
    price = costs.price(replace(work, frozen_units=depth, folds=1))
    return EpochCost(depth, work.units, work.training.batch_size, price.train.seconds)


def _notes(measured: Measured) -> list[str]:
    if not measured.left_out:
        return []
    names = ", ".join(f"{one.key.label} at {one.key.px} px" for one in measured.left_out[:5])
    more = len(measured.left_out) - 5
    share = sum(one.share for one in measured.left_out)
    return [
        f"not measured but guessed from the others, {share:.0%} of what may be drawn: {names}"
        + (f" and {more} more" if more > 0 else "")
    ]


def _missing_weights(opened: OpenedSpace, weights_dir: Path | None, cache: Cache) -> list[str]:
    """Say which weights a search would not find; the times do not depend on them."""
    from tune_cnn.models.weights import resolve_weights

    missing = []
    for backbone, weights in opened.backbones:
        try:
            resolve_weights(backbone, weights, weights_dir=weights_dir, cache_dir=cache.folder)
        except WeightsError as error:
            missing += [f"weights: {fault}" for fault in error.faults]
    return missing


def _built_gb(played: Sequence[Simulated], kind: str) -> Spread:
    return Spread.of([sum(each.size_bytes for each in one.built if each.kind == kind) / 1e9 for one in played])


def _checkpoint_gb(space: Space, measured: Measured, offered: Slots) -> float:
    """Give what weights and states take at most at any moment: of running trials, of those kept, of the finals."""
    finals = space.search.finals
    models = offered.concurrent + min(space.search.keep, space.search.trials)
    models += finals.top * finals.repeats if finals else 0
    return max(times.checkpoint_mb for times in measured.models.values()) * models * 2**20 / 1e9


def _memory_gb(measured: Measured, offered: Slots) -> float | None:
    peaks = [times.peak_memory_mb for times in measured.models.values() if times.peak_memory_mb is not None]
    at_once = max(1, int(1 / offered.per_trial_gpus)) if offered.per_trial_gpus else offered.concurrent
    return max(peaks) * min(at_once, offered.concurrent) * 2**20 / 1e9 if peaks else None


def _memory_there_gb(offered: Slots) -> float:
    if not offered.gpus:
        return machine.memory_mb() * 2**20 / 1e9
    import torch

    return float(torch.cuda.get_device_properties(0).total_memory) / 1e9


def _short(what: str, needed_gb: float, free: float, place: Path) -> list[str]:
    if needed_gb <= free:
        return []
    return [f"{what}: up to {needed_gb:.1f} GB, but {free:.1f} GB are free at {place}"]


def free_gb(folder: Path) -> float:
    """Say how much is free on the disk of a folder, which need not be there yet."""
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    return shutil.disk_usage(there).free / 1e9


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


def device_name() -> str:
    """Name the GPU of this machine, or say that there is none."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


def _seconds_of(task: Callable[[], object]) -> float:
    began = time.monotonic()
    task()
    return time.monotonic() - began
