import copy
import json
from math import inf
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.conftest import trial_config
from tests.training.networks import images, short_of_memory, tiny
from tune_cnn.data.cache import Cache
from tune_cnn.training.precision import FULL, Precision, choose, fastest, images_to_probe_with, precision_for, probe

CPU = torch.device("cpu")
PLAIN, LAST = (Precision("float32", layout) for layout in ("contiguous", "channels_last"))
HALF, HALF_LAST = (Precision("bfloat16", layout) for layout in ("contiguous", "channels_last"))


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        pytest.param([1.0, 1.0, 1.0, 1.0], PLAIN, id="all-alike"),
        pytest.param([1.0, 0.9, 0.9, 0.9], PLAIN, id="a-tenth-may-be-chance"),
        pytest.param([1.0, 0.8, 0.75, 0.75], LAST, id="half-gains-little-over-the-layout"),
        pytest.param([1.0, 1.1, 0.5, 0.48], HALF, id="half-precision"),
        pytest.param([1.0, 0.7, 0.5, 0.3], HALF_LAST, id="both"),
        pytest.param([inf, inf, 2.0, 1.9], HALF, id="what-does-not-fit-is-not-taken"),
        pytest.param([inf, inf, inf, inf], PLAIN, id="nothing-fits"),
    ],
)
def test_another_way_is_taken_only_if_it_is_clearly_faster(seconds: list[float], chosen: Precision) -> None:
    assert choose(dict(zip((PLAIN, LAST, HALF, HALF_LAST), seconds, strict=True))) == chosen


@pytest.mark.parametrize(("batch", "probed"), [(1, 2), (16, 16), (17, 32), (31, 32), (500, 64)])
def test_near_batch_sizes_share_a_probe(batch: int, probed: int) -> None:
    assert images_to_probe_with(batch) == probed


def test_a_probe_leaves_the_network_and_the_random_draws_as_they_are() -> None:
    network = tiny(nn.BatchNorm2d(6), nn.Dropout2d(0.5))
    network.freeze_to(2)
    before = copy.deepcopy(network)
    torch.manual_seed(3)
    seconds = probe(network, images(4), [PLAIN, HALF_LAST])
    drawn = torch.rand(3)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(3))
    assert list(seconds) == [PLAIN, HALF_LAST]
    assert all(0 < each < inf for each in seconds.values())
    assert (network.frozen_units, {one.grad for one in network.parameters()}) == (2, {None})
    for mine, its in zip(network.state_dict().values(), before.state_dict().values(), strict=True):
        assert torch.equal(mine, its)
        assert mine.stride() == its.stride()


def test_what_memory_does_not_suffice_for_takes_for_ever() -> None:
    assert probe(short_of_memory(tiny(), 3), images(4), [PLAIN]) == {PLAIN: inf}


def test_a_machine_is_asked_once_and_answers_all_trials_alike(tmp_path: Path) -> None:
    config = trial_config(tmp_path, image={"px": 16})
    cache, asked = Cache(tmp_path / "cache"), 0

    def count(*_arguments: Any) -> None:
        nonlocal asked
        asked += 1

    def network() -> Any:
        made = tiny(nn.BatchNorm2d(6))
        made.head.register_forward_pre_hook(count)
        return made

    first = fastest([PLAIN, LAST], config, network(), cache, CPU)
    steps = asked
    other = config.model_copy(update={"seed": 7, "training": config.training.model_copy(update={"batch_size": 7})})
    assert fastest([PLAIN, LAST], other, network(), cache, CPU) == first
    assert asked == steps > 0
    fastest([PLAIN, LAST], trial_config(tmp_path, image={"px": 32}), network(), cache, CPU)
    assert asked > steps
    notes = [json.loads(file.read_text()) for file in (tmp_path / "cache" / "precision").glob("*.json")]
    assert len(notes) == 2


@pytest.mark.parametrize(("asked", "dtype"), [("auto", "float32"), ("float32", "float32"), ("half", "bfloat16")])
def test_on_a_cpu_nothing_is_probed(tmp_path: Path, asked: str, dtype: str) -> None:
    config = trial_config(tmp_path, training={"precision": asked})
    assert precision_for(config, tiny(), Cache(tmp_path / "cache"), CPU) == Precision(dtype)
    assert not (tmp_path / "cache").exists()


def test_weights_and_batches_are_laid_out_as_was_found_fastest() -> None:
    network = tiny()
    LAST.place(network)
    first = next(network.parameters())
    assert first.is_contiguous(memory_format=torch.channels_last)
    assert not first.is_contiguous()
    rows = torch.zeros(2, 8, 8, 3).permute(0, 3, 1, 2)
    assert FULL.arrange(rows) is rows
    arranged = PLAIN.arrange((rows, torch.zeros(2, 5)))
    assert [each.is_contiguous() for each in arranged] == [True, True]
    assert LAST.arrange(rows).is_contiguous(memory_format=torch.channels_last)  # type: ignore[union-attr]
