import json
import multiprocessing
from dataclasses import replace
from io import StringIO
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest
from rich.console import Console

from tests.conftest import trial_config
from tests.planning.pricing import price, search_of
from tests.search.driving import made_space
from tests.space.made import space_of
from tune_cnn.data.cache import Cache
from tune_cnn.planning.cost import Costs, Images
from tune_cnn.planning.guess import guessed_times, scale_of
from tune_cnn.planning.known_times import keep_times, known_times
from tune_cnn.planning.many import Spread, room_for, simulations
from tune_cnn.planning.measuring import Pool, trials_beside
from tune_cnn.planning.room import Need
from tune_cnn.planning.slots import Slots, share_out
from tune_cnn.planning.work import ModelKey, draws
from tune_cnn.search.plan import EpochCost, ModelPlan, Plan
from tune_cnn.search.plan_output import plan_json, print_plan
from tune_cnn.sections.search import PerTrial
from tune_cnn.training.busy import kept_busy
from tune_cnn.training.times import ImageTimes, ModelTimes, StepTime
from tune_cnn.yaml_files import write_yaml

ONE_SLOT = Slots(cpus=2, gpus=0, per_trial_cpus=1, per_trial_gpus=0, concurrent=1)


def searchable(shapes: Path, **search: Any) -> dict[str, Any]:
    """A space of two small networks from scratch, as a file would have it."""
    whole = trial_config(shapes).model_dump(mode="json", include={"name", "task", "data"})
    layers = [{"conv": {"choice": [4, 8]}, "pool": 2}, {"conv": 8, "pool": 2}]
    optimizer = {"kind": "adam", "lr": {"range": [1e-4, 1e-2], "log": True}}
    return {
        **whole,
        "image": {"px": 32},
        "model": {"backbone": {"kind": "custom", "layers": layers}},
        "training": {"epochs": 4, "batch_size": {"choice": [4, 8]}, "optimizer": optimizer},
        "augment": {"choice": ["none", "light"]},
        "search": {"trials": 9, "asha": {"grace_epochs": 1, "reduction": 3}, **search},
    }


@pytest.fixture
def space_file(shapes: Path, tmp_path: Path) -> Path:
    write_yaml(tmp_path / "space.yaml", searchable(shapes))
    return tmp_path / "space.yaml"


def test_a_plan_says_trials_time_disk_and_memory(space_file: Path, tune_cnn: Any) -> None:
    outcome = tune_cnn("plan", space_file, "--concurrent", "1", "--hours", "3")
    assert (outcome.code, outcome.err.splitlines()[0]) == (0, "opening the images …")
    assert "timing custom" in outcome.err
    named = {text.split("  ")[0] for text in outcome.out.splitlines()}
    assert {"running", "trials", "hours", "budget", "cache", "checkpoints", "memory", "load"} <= named
    assert "9 of 9" in outcome.out
    assert "3 hours have room for" in outcome.out
    assert "will not" not in outcome.out


def test_a_plan_can_be_read_by_programs(space_file: Path, tune_cnn: Any) -> None:
    plan = json.loads(tune_cnn("plan", space_file, "--concurrent", "1", "--json").out)
    assert plan["trials"] == plan["begun"]["p50"] == 9
    assert plan["hours"]["p10"] <= plan["hours"]["p50"] <= plan["hours"]["p90"]
    assert len(plan["models"]) == 2
    assert {model["key"]["px"] for model in plan["models"]} == {32}
    assert plan["room_for"] is None
    assert plan["images"] == {"train": 30, "val": 15, "test": 15}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["none.yaml"], "none.yaml: cannot be read: No such file", id="no-space"),
        pytest.param(["space.yaml", "--trials", "0"], "Invalid value for '--trials'", id="no-trial"),
        pytest.param(["space.yaml", "--hours", "-1"], "search.hours: -1", id="negative-hours"),
        pytest.param(["space.yaml", "--data", "nowhere"], "data.root is not there", id="no-images"),
        pytest.param(["space.yaml", "--cpus-per-trial", "4000"], "less with --cpus-per-trial", id="too-many-cpus"),
        pytest.param(["space.yaml", "--set", "training.epochz=3"], "did you mean 'epochs'", id="a-misspelt-name"),
    ],
)
def test_a_wrong_call_is_one_clear_line(arguments: list[str], says: str, space_file: Path, tune_cnn: Any) -> None:
    outcome = tune_cnn("plan", *arguments, "--concurrent", "1")
    assert (outcome.code, outcome.out) == (2, "")
    assert says in outcome.err
    assert "Traceback" not in outcome.err


def test_what_was_measured_is_there_for_a_search_of_that_space_and_so_many_slots(tmp_path: Path) -> None:
    model = ModelTimes((1.0, 2.0), 0.5, (8, 4), (0, 0, 2), 0.5, (StepTime(0, 8, 0.0, 9.0),), peak_memory_mb=100.0)
    costs = Costs({ModelKey("net", 32): model}, {32: ImageTimes(0.1, 0.2, {"light": 0.3})}, Images(5, 3, 2), 1.0, 2.0)
    space = made_space(tmp_path)
    keep_times(tmp_path, space, ONE_SLOT, costs)
    assert known_times(tmp_path, space, ONE_SLOT) == costs
    assert known_times(tmp_path, made_space(tmp_path, overrides=("search.trials=99",)), ONE_SLOT) == costs
    assert known_times(tmp_path, space, replace(ONE_SLOT, concurrent=2)) is None
    assert known_times(tmp_path, made_space(tmp_path, overrides=("image.px=96",)), ONE_SLOT) is None


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"format": 1}', b'{"format": 1, "models": [[1]]}'])
def test_damaged_measurements_are_none(content: bytes, tmp_path: Path) -> None:
    space = made_space(tmp_path)
    keep_times(tmp_path, space, ONE_SLOT, Costs({}, {}, Images(1, 1)))
    (file,) = (tmp_path / "timings").iterdir()
    file.write_bytes(content)
    assert known_times(tmp_path, space, ONE_SLOT) is None


@pytest.mark.parametrize(
    ("cpus", "gpus", "per_trial", "concurrent", "expected", "beside"),
    [
        pytest.param(2, 0, PerTrial(), None, 2, 1, id="a-trial-per-cpu"),
        pytest.param(2, 0, PerTrial(gpus=0.5), None, 2, 1, id="without-a-gpu-none-is-asked-for"),
        pytest.param(8, 1, PerTrial(), None, 1, 0, id="a-trial-per-gpu"),
        pytest.param(8, 2, PerTrial(gpus=0.25), None, 8, 3, id="four-on-each-gpu"),
        pytest.param(8, 2, PerTrial(gpus=0.4), None, 4, 1, id="two-on-each-gpu-and-none-on-two"),
        pytest.param(8, 3, PerTrial(gpus=1.5), None, 2, 0, id="more-than-one-gpu-each"),
        pytest.param(8, 0, PerTrial(cpus=3), None, 2, 1, id="whole-trials-only"),
        pytest.param(8, 0, PerTrial(), 3, 3, 2, id="no-more-than-asked-for"),
        pytest.param(64, 0, PerTrial(), None, 64, 15, id="many-are-taken-for-fewer"),
    ],
)
def test_resources_are_shared_out(
    cpus: float, gpus: float, per_trial: PerTrial, concurrent: int | None, expected: int, beside: int
) -> None:
    offered = share_out(cpus=cpus, gpus=gpus, per_trial=per_trial, concurrent=concurrent)
    assert (offered.concurrent, trials_beside(offered)) == (expected, beside)


def test_the_networks_of_a_space_are_those_it_may_draw_the_commonest_first(tmp_path: Path) -> None:
    backbone = {"choice": ["resnet18", "resnet34"]}
    pool = Pool.drawn(space_of(tmp_path, model={"backbone": backbone, "freeze": {"depth": {"range": [0.0, 1.0]}}}), 100)
    one, other = pool.candidates()
    assert {one.key.label, other.key.label} == {"resnet18", "resnet34"}
    assert one.share >= other.share
    assert one.share + other.share == 1
    works = [work for work in pool.works if work.model == one.key]
    frozen, units = {work.frozen_units for work in works}, works[0].units
    assert one.depths == (min(frozen), units // 2, units * 3 // 4, max(frozen))
    assert one.batch_sizes == (32,)


def test_a_warm_up_has_its_depth_timed_too(tmp_path: Path) -> None:
    pool = Pool.drawn(space_of(tmp_path, model={"backbone": "resnet18"}, training__warm_up={"epochs": 2}), 3)
    (candidate,) = pool.candidates()
    assert candidate.depths[0] == 0
    assert candidate.depths[-1] == pool.works[0].units


@pytest.mark.parametrize(
    ("small", "large"),
    [
        pytest.param({"model": {"backbone": "resnet18"}}, {"model": {"backbone": "resnet50"}}, id="more-parameters"),
        pytest.param({"image": {"px": 64}}, {"image": {"px": 128}}, id="more-pixels"),
        pytest.param(
            {"model": {"backbone": {"kind": "custom", "layers": [{"conv": 4}]}}},
            {"model": {"backbone": {"kind": "custom", "layers": [{"conv": 16}]}}},
            id="more-channels",
        ),
    ],
)
def test_a_larger_network_is_guessed_to_take_longer(small: Any, large: Any, tmp_path: Path) -> None:
    one, other = (
        guessed_times(next(islice(draws(space_of(tmp_path, **sections), Random(0)), 1)))  # noqa: S311
        for sections in (small, large)
    )
    assert 0 < one.forward_seconds < other.forward_seconds
    assert scale_of([(one.scaled(3.0), one), (other.scaled(3.0), other)]) == pytest.approx(3.0)


def test_many_searches_give_percentiles() -> None:
    assert Spread.of([float(value) for value in range(100)]) == Spread(10.0, 50.0, 90.0)
    assert Spread.of([3.0]) == Spread(3.0, 3.0, 3.0)


def test_hours_have_room_for_so_many_trials() -> None:
    search = search_of(5, hours=1.0)
    prices = [price(72.0, epochs=5)]
    played = simulations(search, prices, slots=2, start_seconds=0.0)
    assert {one.trials for one in played} == {5}
    assert room_for(search, prices, played, slots=2, start_seconds=0.0) == Spread(20, 20, 20)
    week = search_of(5, hours=100.0)
    assert room_for(week, prices, played, slots=2, start_seconds=0.0) == Spread(2000, 2000, 2000)
    assert room_for(search_of(5), prices, played, slots=2, start_seconds=0.0) is None


def made_plan(**changes: Any) -> Plan:
    fixed = Spread(1.0, 2.0, 3.0)
    model = ModelPlan(ModelKey("net", 32), 1.0, (EpochCost(0, 4, 8, 12.5),), 640.0, {2: -0.1}, measured=True)
    given: dict[str, Any] = {
        "name": "made",
        "trials": 9,
        "offered": ONE_SLOT,
        "device": "no GPU",
        "images": Images(30, 15),
        "models": (model,),
        "load": 1.5,
        "simulated": 100,
        "hours": fixed,
        "finals_hours": Spread(0.0, 0.0, 0.0),
        "begun": Spread(9, 9, 9),
        "stopped": Spread(3, 4, 5),
        "epochs": Spread(20, 25, 30),
        "hours_asked": None,
        "room_for": None,
        "cache_gb": {"images": Spread(0.1, 0.1, 0.1)},
        "needs": tuple(
            Need(what, 1.0, 2.0, "free some") for what in ("cache takes", "checkpoints take", "trials take")
        ),
        "missing": (),
        "left_out": "",
    }
    return Plan(**given | changes)


def printed(plan: Plan) -> str:
    console = Console(file=StringIO(), width=160)
    print_plan(plan, console)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param({}, "hours           2.0 h (P10 60 min, P90 3.0 h); 100 searches simulated", id="hours"),
        pytest.param({}, "trials          9 of 9, 4 (3 to 5) of them stopped early; 25 (20 to 30) epochs", id="trials"),
        pytest.param({"finals_hours": Spread(0.5, 0.5, 0.5)}, "finals          30 min (P10 30 min, P90", id="finals"),
        pytest.param({"missing": ("a: none",)}, "will not start: a: none", id="weights-that-cannot-be-had"),
        pytest.param({"left_out": "b at 32 px: 50%"}, "guessed from the others: b at 32 px: 50%", id="left-out"),
        pytest.param({}, "off by -10% to -10%", id="interpolation"),
        pytest.param(
            {"needs": (*made_plan().needs[:2], Need("4 trials take", 9.0, 2.0, "write less"))},
            "will not fit: 4 trials take up to 9.0 GB, but there are 2.0 GB; write less",
            id="memory",
        ),
    ],
)
def test_a_plan_is_printed_line_by_line(changes: dict[str, Any], says: str) -> None:
    text = printed(made_plan(**changes))
    assert says in text
    assert ("will not" in text) == ("will not" in says)


def test_the_json_of_a_plan_has_all_of_it() -> None:
    plan = json.loads(plan_json(made_plan()))
    assert set(plan) == set(Plan.__dataclass_fields__)
    assert plan["models"][0]["key"] == {"label": "net", "px": 32}
    assert plan["models"][0]["left_out_errors"] == {"2": -0.1}


@pytest.mark.slow
def test_processes_beside_are_ended_with_the_block(shapes: Path) -> None:
    layers = {"kind": "custom", "layers": [{"conv": 4, "pool": 2}]}
    config = trial_config(shapes, model={"backbone": layers}, image={"px": 16})
    with kept_busy(config, Cache(shapes), 2) as wait:
        wait()
        assert len(multiprocessing.active_children()) == 2
    assert multiprocessing.active_children() == []
