"""What a network is fed with where features cannot be had: images, and no trial fails for it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.training.cached import costs_of
from tests.training.networks import tiny
from tests.training.test_features import CPU, PX, network, view
from tune_cnn.data.cache import Cache
from tune_cnn.models.classifier import Classifier
from tune_cnn.training.features import KIND, Setting
from tune_cnn.training.feed import FeatureUse, Feed
from tune_cnn.training.ladder import KIND as LADDERS
from tune_cnn.training.ladder import ladder_key, prove_ladder
from tune_cnn.training.precision import FULL


def feed_of(model: Classifier, cache: Cache) -> Feed:
    return Feed(model, view(), FeatureUse(cache, "tiny", PX), FULL)


def with_a_ladder(model: Classifier, cache: Cache) -> None:
    """Note where features of a network are kept, as if that had been measured."""
    setting = Setting("tiny", PX, CPU)
    ladder = prove_ladder(model, view(), setting, costs_of(model))
    cache.note(LADDERS, ladder_key(model, setting), ladder.as_json)


def run_short(model: Classifier, message: str, *, images: int = 8) -> None:
    """Let the first unit of a network fail with more than so many images."""

    def refuse(_module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if len(arguments[0]) > images:
            raise RuntimeError(message)

    model.unit_modules()[0].register_forward_pre_hook(refuse)


@pytest.mark.parametrize("known", [True, False], ids=["when-they-are-computed", "when-cuts-are-tried"])
def test_where_features_run_out_of_memory_the_network_is_fed_with_images(known: bool, tmp_path: Path) -> None:
    model, cache = network(), Cache(tmp_path)
    if known:
        with_a_ladder(model, cache)
    run_short(model, "CUDA error: out of memory")
    feed = feed_of(model, cache)
    assert (feed.cut is not None) == known
    shown = view()
    fed = feed.of(shown)
    assert fed.network is model
    assert fed.batches is shown
    assert feed.cut is None
    assert not any(unit._forward_hooks for unit in model.unit_modules()), "nothing measures any more"
    assert not list(tmp_path.glob(f"{KIND}/*/entry.json"))
    assert bool(list(tmp_path.glob(f"{LADDERS}/*.json"))) == known, "what memory did not suffice for is tried again"


def test_other_errors_are_not_taken_for_a_want_of_memory(tmp_path: Path) -> None:
    model, cache = network(), Cache(tmp_path)
    with_a_ladder(model, cache)
    run_short(model, "a fault of the network")
    with pytest.raises(RuntimeError, match="a fault of the network"):
        feed_of(model, cache).of(view())


def test_a_network_with_weights_outside_its_units_is_fed_with_images(tmp_path: Path) -> None:
    model = tiny(nn.ReLU(), nn.Conv2d(6, 6, 1))
    model.backbone.register_parameter("scale", nn.Parameter(torch.ones(1)))
    model.freeze_to(1)
    assert feed_of(model, Cache(tmp_path)).cut is None
