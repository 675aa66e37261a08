"""The parts of the benchmark, one after the other: each measures something and gives its rows of the table."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks import overhead, speeds, suggestion
from benchmarks.comparing import Comparison, compare
from benchmarks.floor import Floor, Work, floor_of
from benchmarks.material import Images, write_images, write_weights
from benchmarks.measured import Trained
from benchmarks.places import ROOT
from benchmarks.programs import ProgramError, Setting, best_workers
from benchmarks.table import Row
from benchmarks.workloads import BACKBONES, PX, VIEWS, Sizes, Workload
from tune_cnn.config import TrialConfig
from tune_cnn.results.records import RunFolder
from tune_cnn.sections.search import SearchConfig
from tune_cnn.yaml_files import load_model


@dataclass
class Found:
    """What a part gave."""

    rows: list[Row] = field(default_factory=list)
    searches: list[tuple[str, ...]] = field(default_factory=list)
    """Rows of the table of whole searches, see `table.SEARCH_HEAD`."""
    notes: list[str] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)

    def take_in(self, other: "Found") -> None:
        """Add what another part gave."""
        self.rows += other.rows
        self.searches += other.searches
        self.notes += other.notes
        self.raw |= other.raw


@dataclass
class Bench:
    """Where everything is measured; what all parts share is made once, before anything is timed."""

    folder: Path
    real: Path | None
    """The aquarium; None for the generated stand-in."""
    concurrent: int
    gpus_per_trial: float
    sizes: Sizes

    def images(self, train: int, val: int) -> Images:
        """Write so many images, or give those that were written for an earlier part."""
        return write_images(self.folder / f"images-{train}-{val}", train=train, val=val, real=self.real)

    @cached_property
    def weights(self) -> Mapping[str, Path]:
        """The files of weights of all backbones."""
        return write_weights(self.folder / "weights", (*BACKBONES, overhead.BACKBONE))

    def setting(self, train: int, val: int) -> Setting:
        """Give what both programs are told alike."""
        return Setting(self.images(train, val), self.weights, self.concurrent, self.gpus_per_trial)

    @cached_property
    def workers(self) -> tuple[int, dict[int, float]]:
        """The plain program's best number of DataLoader workers, and the seconds of an epoch with each.

        Tried where nothing but the head is trained: there loading has the greatest share of an epoch.
        """
        points = [Trained(name, units, lr=1e-3, dropout=0.2, scores=(), epoch_seconds=()) for name, units in _FROZEN]
        least = min(self.sizes.workers)
        if self.sizes.workers == (least,):
            return least, {}
        place = self.folder / "workers"
        return best_workers(points, self.setting(_PROBED, _PROBED // 3), place, px=PX, counts=self.sizes.workers)


_FROZEN = (("tf_efficientnet_lite0", 21), ("mobilenetv3_large_100", 22))
_PROBED = 96
Part = Callable[[Bench], Found]


def search_part(workload: Workload) -> Part:
    """Give the part that measures a workload with both programs."""

    def measure(bench: Bench) -> Found:
        setting, (workers, _) = bench.setting(workload.train, workload.val), bench.workers
        folder = bench.folder / workload.name
        done = compare(workload, setting, folder, workers=workers)
        floor = _floor(bench, done, folder / "ours" / "run")
        search = (
            *(workload.title, workload.size, done.agreement.text),
            *(f"{floor.seconds:.3g} s", f"{done.ours.seconds:.3g} s", f"{floor.efficiency(done.ours.seconds):.2f}"),
        )
        note = f"{workload.title}: {done.ours.profile(bench.concurrent)}."
        return Found(done.rows(), [search], [note], {workload.name: {**done.as_json(), "floor": asdict(floor)}})

    return measure


def _floor(bench: Bench, done: Comparison, run: Path) -> Floor:
    """Measure the bare parts of what a search trained, and give its floor."""
    models, decode_seconds = speeds.read(_apart(bench, "speeds", run=run, beside=bench.concurrent - 1))
    images, config = done.setting.images, load_model(RunFolder(run).trial(0).config, TrialConfig)
    work = Work(
        train=images.train,
        val=images.val,
        views=VIEWS,
        batch_size=config.training.batch_size,
        devices=bench.concurrent,
        decode_seconds=decode_seconds,
    )
    return floor_of(done.ours.trials, models, work)


def overhead_part(bench: Bench) -> Found:
    """Measure what a trial costs besides training."""
    setting = Setting(bench.images(32, 16), bench.weights, concurrent=1, gpus_per_trial=bench.gpus_per_trial)
    sizes = bench.sizes
    ours, plain = overhead.measure(
        setting, bench.folder / "overhead", trials=sizes.gap_trials, plain_trials=sizes.plain_gap_trials
    )
    figure = overhead.median_gap(ours)
    row = Row(
        "overhead per trial",
        f"gap, n = {len(ours) - 1} and {len(plain) - 1}",
        f"{figure:.3g} s",
        f"{overhead.median_gap(plain):.3g} s",
        figure,
        "s",
        "≤",
        0.3,
    )
    return Found([row], raw={"overhead": {"ours_gaps": ours, "plain_gaps": plain}})


def suggestion_part(bench: Bench) -> Found:
    """Measure how long the default sampler takes for a suggestion after many trials."""
    sampler, past = SearchConfig().sampler, bench.sizes.past_trials
    asks, *_ = suggestion.measure(sampler, past, repeats=bench.sizes.suggestions, folder=bench.folder)
    shown = f"{asks.median_ms:.3g} ms"
    measure = f"median of {len(asks.each_ms)}, sampler {sampler}"
    row = Row(f"suggestion at {past:,} past trials", measure, shown, "", asks.median_ms, "ms", "≤", 30)
    note = f"Nine of ten suggestions took less than {asks.p90_ms:.3g} ms."
    return Found([row], notes=[note], raw={"suggestion": asdict(asks)})


def driver_part(bench: Bench) -> Found:
    """Measure what the driver bears."""
    sizes = bench.sizes
    found = _apart(bench, "driver", trials=sizes.driver_trials, slots=sizes.driver_slots)
    busy = 100 * found["busy_share"]
    name = f"driver, {found['trials']} stub trials of 5 s"
    row = Row(name, f"{found['slots']} simulated slots busy", f"{busy:.3g} %", "", busy, "%", "≥", 90)
    note = (
        f"The driver takes {found['results_per_second']:.0f} results per second and {found['driver_ms_per_trial']:.1f} "
        f"ms per trial, {found['driver_cpu_ms_per_trial']:.1f} ms of it computing; its memory: "
        f"{found['resident_mb']:.0f} MiB, {found['growth_mb']:+.1f} MiB from the second tenth of "
        f"{found['trials']} trials to the last. A driver that takes no time would keep "
        f"{found['busy_ceiling']:.1%} busy."
    )
    return Found([row], notes=[note], raw={"driver": found})


def ray_driver_part(bench: Bench) -> Found:
    """Measure what the driver bears with real Ray, whose workers sleep."""
    sizes = bench.sizes
    found = _apart(bench, "ray_driver", trials=sizes.ray_trials, slots=sizes.ray_slots)
    busy = 100 * found["busy_share"]
    name = f"driver, {found['trials']} sleeping trials of 5 s"
    row = Row(name, f"{found['slots']} slots of real Ray busy", f"{busy:.3g} %", "", busy, "%", "≥", 90)
    return Found([row], raw={"ray_driver": found})


def worker_part(bench: Bench) -> Found:
    """Measure how a worker's memory grows."""
    found = _apart(bench, "worker", trials=bench.sizes.worker_trials)
    note = (
        f"A worker's memory: {found['resident_mb']:.0f} MiB, {found['growth_mb']:+.1f} MiB from the second tenth of "
        f"{found['trials']} tiny trials to the last."
    )
    return Found(notes=[note], raw={"worker": found})


def _apart(bench: Bench, module: str, **options: object) -> dict[str, Any]:
    """Run a program of this folder in a process of its own, and read its figures.

    Raises:
        ProgramError: it failed.
    """
    file = bench.folder / f"{module}.json"
    words: Sequence[str] = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    command = [sys.executable, "-m", f"benchmarks.{module}", *words, "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProgramError(f"{module} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(file.read_text())
    return found
