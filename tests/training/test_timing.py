from pathlib import Path

import pytest
import torch

from tests.conftest import trial_config
from tune_cnn.data.cache import Cache
from tune_cnn.training.timed_model import TimedModel
from tune_cnn.training.timing import measure_images, measure_model
from tune_cnn.training.watch import Watch

LAYERS = {"kind": "custom", "layers": [{"conv": 4, "pool": 2}, {"conv": 8, "batch_norm": True}]}
NET = {"backbone": LAYERS, "weights": "none", "head": {"hidden": [8]}}
WATCH = Watch(torch.device("cpu"), 1)


def test_a_network_is_measured_unit_by_unit_and_step_by_step(shapes: Path, tmp_path: Path) -> None:
    config = trial_config(shapes, model=NET, image={"px": 16})
    times = measure_model(config, 5, depths=[0, 1, 2], batch_sizes=[2, 4], cache=Cache(tmp_path), watch=WATCH)
    assert times.map_bytes[0] == 4 * 8 * 8 * 4
    assert times.map_bytes[1] in (8 * 8 * 8 * 4, 8 * 4)  # of the map, or, where features are kept, of its mean
    assert len(times.unit_seconds) == 2
    assert len(times.cuts) == 3
    assert all(0 <= cut <= frozen for frozen, cut in enumerate(times.cuts))
    assert times.read_seconds_per_byte > 0
    measured = {(step.frozen_units, step.batch_size) for step in times.steps}
    assert measured == {(0, 2), (0, 4), (1, 2), (2, 2), (2, 4)}
    positive = (times.forward_seconds, times.build_seconds, times.save_best_seconds)
    assert min(positive) > 0
    assert [save.frozen_units for save in times.saves] == [2, 0]
    assert min(times.checkpoint_mb, *(save.seconds for save in times.saves)) > 0
    assert all(step.rest_seconds > 0 for step in times.steps)
    assert all((step.prefix_seconds > 0) == (step.frozen_units > 0) for step in times.steps)
    assert not list(tmp_path.glob("timing-*"))


def test_timing_a_step_trains_what_is_not_frozen_and_nothing_else(shapes: Path) -> None:
    timed = TimedModel(trial_config(shapes, model=NET, image={"px": 16}), 5, Cache(shapes))
    timed.step(1, 4, WATCH)
    first, second = timed.units
    assert all(one.grad is None for one in first.parameters())
    assert all(one.grad is not None for one in second.parameters())


def test_masks_are_trained_on_too(shapes: Path, tmp_path: Path) -> None:
    model = {"backbone": "mobilenetv3_small_050", "decoder": "fpn", "weights": "none"}
    masks = {"kind": "masks", "root": str(shapes), "images": "a", "masks": "b", "values": {"0": "x", "1": "y"}}
    config = trial_config(
        shapes, task="segmentation", data={**masks, "splits": {"val": 0.2}}, model=model, image={"px": 32}
    )
    timed = TimedModel(config, 2, Cache(tmp_path))
    units, top, sizes = timed.forward(1, WATCH)
    assert len(units) == len(sizes) == len(timed.units)
    assert timed.step(len(units), 1, WATCH).rest_seconds > 0
    assert top > 0


def test_images_are_decoded_loaded_and_augmented(shapes: Path) -> None:
    files = sorted((shapes / "train").rglob("*.jpg"))
    config = trial_config(shapes)
    policies = {"none": "none", "light": "light"}
    times = measure_images(files, config.image, policies, watch=WATCH, masks=True)  # type: ignore[arg-type]
    assert min(times.decode_seconds, times.load_seconds, times.view_seconds["light"]) > 0
    assert times.view_seconds["none"] == 0


def test_on_a_machine_without_other_work_there_is_no_load() -> None:
    assert Watch(torch.device("cpu"), 2).load == 1.0


@pytest.mark.parametrize("threads", [1, 2])
def test_a_task_is_run_twice_at_least_after_it_was_warmed_up(threads: int) -> None:
    runs: list[int] = []
    watch = Watch(torch.device("cpu"), threads)

    def once() -> list[float]:
        runs.append(1)
        return [float(len(runs))]

    assert watch.medians(once)[0] >= 2
    assert len(runs) >= 3
    assert watch.load >= 1


def test_a_forward_pass_keeps_more_the_more_trains(shapes: Path) -> None:
    timed = TimedModel(trial_config(shapes, model=NET, image={"px": 16}), 5, Cache(shapes))
    all_trains, last_unit, head = (timed.saved_bytes(frozen) for frozen in (0, 1, 2))
    assert all_trains > last_unit > head > 0
    # Unit 2: its input, (4, 8, 8); the convolution's output, (8, 8, 8), for BatchNorm; and ReLU's, in four bytes each.
    assert last_unit - head >= (4 + 8 + 8) * 8 * 8 * 4
