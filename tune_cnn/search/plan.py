"""`tune-cnn plan`: what a search will cost, by short measurements on this machine and simulated searches."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from tune_cnn import machine
from tune_cnn.config import TrialConfig
from tune_cnn.data.cache import Cache
from tune_cnn.data.dataset import ImageData, open_data
from tune_cnn.errors import WeightsError
from tune_cnn.models.weights import resolve_weights
from tune_cnn.planning.cost import Costs, Images
from tune_cnn.planning.gpu_share import greediest, share_of_gpu
from tune_cnn.planning.known_times import keep_times
from tune_cnn.planning.many import Spread, room_for, simulations
from tune_cnn.planning.measuring import Measured, Note, Pool, measure, trials_beside
from tune_cnn.planning.room import Need, cache_need, checkpoints_need, memory_need, of_worker_mb
from tune_cnn.planning.simulate import Simulated
from tune_cnn.planning.slots import Slots, share_out
from tune_cnn.planning.work import ModelKey, Work
from tune_cnn.search.check import check_folds
from tune_cnn.search.open_space import OpenedSpace
from tune_cnn.space.schema import Space
from tune_cnn.training.busy import kept_busy
from tune_cnn.training.gpu_memory import gpu_memory

START_SECONDS = 8.0
"""From the command to the first trial: imports, the audit, Ray. Measured on 2 cores."""
_ROUND_TRIP_SECONDS = 0.3
"""Between Ray and a worker from one trial to the next."""
_NAMED = 5
_CLASSES = 10  # of no account for memory


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
    """See `ModelTimes.left_out_errors`."""
    measured: bool
    """Or guessed from others."""


@dataclass(frozen=True)
class Plan:
    """What a search will cost."""

    name: str
    trials: int
    offered: Slots
    device: str
    images: Images
    models: tuple[ModelPlan, ...]
    load: float
    """How much longer everything took than on a machine without other work."""
    simulated: int
    hours: Spread
    finals_hours: Spread
    begun: Spread
    stopped: Spread
    epochs: Spread
    hours_asked: float | None
    room_for: Spread | None
    """Trials that the asked hours have room for; None without hours."""
    cache_gb: Mapping[str, Spread]
    """Of what all trials share, by kind: decoded images, views, features."""
    needs: tuple[Need, ...]
    """Of the cache, checkpoints and memory, in this order."""
    missing: tuple[str, ...]
    """Why a search would not start."""
    left_out: str
    """What was not measured; empty if all was."""


def plan_search(opened: OpenedSpace, *, cache: Cache, weights_dir: Path | None, run_dir: Path, note: Note) -> Plan:
    """Measure, simulate, and say what a search of this space will cost on this machine. Trains nothing to an end.

    Args:
        opened: the space.
        cache: where decoded images are kept, and what was measured, for the forecasts of searches.
        weights_dir: the user's folder of weights.
        run_dir: where the run folder would go; need not be there.
        note: told what is being done.

    Raises:
        InputError: the space or the data cannot be used.
    """
    space, pool = opened.space, Pool.drawn(opened.space)
    default, search = pool.configs[0], space.search
    offered = share_out(
        cpus=machine.usable_cpus(),
        gpus=torch.cuda.device_count(),
        per_trial=search.per_trial,
        concurrent=search.concurrent,
        gpu_share=_gpu_share(space, cache),
    )
    beside = trials_beside(offered)
    with kept_busy(default, cache, beside) as wait:
        note("opening the images …")
        data = open_data(default.data, default.image, cache=cache)
        check_folds(space, data, seed=default.data.splits.seed)
        missing = _missing_weights(opened, weights_dir, cache)
        if beside:
            others = "1 process that trains" if beside == 1 else f"{beside} processes that train"
            note(f"waiting for {others} beside what is timed, as the other trials will …")
        wait()
        opening = _seconds_of(lambda: open_data(default.data, default.image, cache=cache))
        measured = measure(pool, data, cache=cache, note=note)
    costs = _costs(default, data, measured, begin_seconds=opening + _ROUND_TRIP_SECONDS)
    with suppress(OSError):  # then searches do without
        keep_times(cache.folder, space, offered, costs)
    note("simulating searches …")
    return _planned(space, pool, costs, measured, offered, cache, run_dir, missing)


def _gpu_share(space: Space, cache: Cache) -> float:
    """Find out what `auto` stands for, as the search would; 1 where it is not asked for or there is no GPU."""
    found = gpu_memory(greediest(space), _CLASSES, cache) if space.search.per_trial.gpus == "auto" else None
    return 1.0 if found is None else share_of_gpu(used_mb=found.used_mb, total_mb=found.total_mb)


def _costs(default: TrialConfig, data: ImageData, measured: Measured, *, begin_seconds: float) -> Costs:
    return Costs(
        models=measured.models,
        images=measured.images,
        counts=Images.of(data),
        begin_seconds=begin_seconds,
        start_seconds=START_SECONDS,
        decoded_px=(default.image.px,),
        decoding_threads=min(8, machine.usable_cpus()),
    )


def _planned(
    space: Space,
    pool: Pool,
    costs: Costs,
    measured: Measured,
    offered: Slots,
    cache: Cache,
    run_dir: Path,
    missing: Sequence[str],
) -> Plan:
    prices = [costs.price(work) for work in pool.works]
    times, at_once = {"start_seconds": costs.start_seconds}, offered.concurrent
    played = simulations(space.search, prices, slots=at_once, **times)
    built = {kind: _built_gb(played, kind) for kind in ("images", "views", "features")}
    shared = cache_need(cache, sum(spread.p90 for spread in built.values()))
    models = measured.models.values()
    return Plan(
        name=space.name,
        trials=space.search.trials,
        offered=offered,
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU",
        images=costs.counts,
        models=tuple(_model_plans(pool, costs, measured)),
        load=measured.load,
        simulated=len(played),
        hours=Spread.of([one.seconds for one in played]).scaled(1 / 3600),
        finals_hours=Spread.of([one.finals_seconds for one in played]).scaled(1 / 3600),
        begun=Spread.of([one.trials for one in played]),
        stopped=Spread.of([one.stopped for one in played]),
        epochs=Spread.of([one.epochs for one in played]),
        hours_asked=space.search.hours,
        room_for=room_for(space.search, prices, played, slots=at_once, **times),
        cache_gb={kind: spread for kind, spread in built.items() if spread.p90},
        needs=(shared, checkpoints_need(space.search, models, offered, run_dir), memory_need(models, offered)),
        missing=tuple(missing),
        left_out=_left_out_text(measured),
    )


def _model_plans(pool: Pool, costs: Costs, measured: Measured) -> list[ModelPlan]:
    left_out, plans = {one.key for one in measured.left_out}, []
    for one in pool.candidates():
        times = measured.models[one.key]
        example = next(work for work in pool.works if work.model == one.key)
        plans.append(
            ModelPlan(
                key=one.key,
                share=one.share,
                epochs=tuple(_epoch_cost(costs, example, depth) for depth in one.depths),
                peak_memory_mb=of_worker_mb(times),
                left_out_errors=times.left_out_errors(),
                measured=one.key not in left_out,
            )
        )
    return plans


def _epoch_cost(costs: Costs, work: Work, depth: int) -> EpochCost:
    price = costs.price(replace(work, frozen_units=depth, folds=1))
    return EpochCost(depth, work.units, work.training.batch_size, price.train.seconds)


def _left_out_text(measured: Measured) -> str:
    if not measured.left_out:
        return ""
    named = [f"{one.key.label} at {one.key.px} px" for one in measured.left_out]
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return f"{', '.join(named[:_NAMED])}{more}: {sum(one.share for one in measured.left_out):.0%} of what may be drawn"


def _missing_weights(opened: OpenedSpace, weights_dir: Path | None, cache: Cache) -> list[str]:
    """Say which weights a search would not find; the times do not depend on them."""
    missing: list[str] = []
    for backbone, weights in opened.backbones:
        try:
            resolve_weights(backbone, weights, weights_dir=weights_dir, cache_dir=cache.folder)
        except WeightsError as error:
            missing += error.faults
    return missing


def _built_gb(played: Sequence[Simulated], kind: str) -> Spread:
    return Spread.of([sum(each.size_bytes for each in one.built if each.kind == kind) / 1e9 for one in played])


def _seconds_of(task: Callable[[], object]) -> float:
    began = time.monotonic()
    task()
    return time.monotonic() - began
