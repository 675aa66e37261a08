"""Training on cached features is training on images: the same losses, and a log that says what was done."""

import random
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from tests.conftest import trial_config
from tests.test_segmentation import config as segmentation_config
from tests.training.cached import both, note_ladder
from tune_cnn.config import TrialConfig
from tune_cnn.data.cache import Cache
from tune_cnn.models.custom import custom_network
from tune_cnn.results.records import EpochRecord, TrialFolder
from tune_cnn.sample import write_sample
from tune_cnn.sections.layers import CustomBackbone
from tune_cnn.trial import run_trial

SMALL = "mobilenetv3_small_050"
Sections = dict[str, Any]
OPTIMIZERS: list[Sections] = [
    {"kind": "adam", "lr": 1e-3},
    {"kind": "adamw", "lr": 1e-2, "layer_decay": 0.5},
    {"kind": "sgd", "lr": 0.05},
    {"kind": "rmsprop", "lr": 1e-3},
]
HEADS: list[Sections] = [{"dropout": 0.3}, {"hidden": [8], "batch_norm": True}, {"features": "flat"}]


def drawn(seed: int, folder: Path) -> Sections:
    """Draw a network of two to four layers, how it is frozen, trained and augmented."""
    draw = random.Random(seed)  # noqa: S311 - for variety, not for secrets
    layers = [
        {
            "conv": draw.choice([4, 8]),
            "kernel": draw.choice([1, 3]),
            "pool": draw.choice([None, 2]),
            "batch_norm": draw.random() < 0.7,
            "dropout": draw.choice([0.0, 0.3]),
        }
        for _ in range(draw.choice([2, 3, 4]))
    ]
    backbone = {"kind": "custom", "layers": layers}
    file = folder / f"{seed}.safetensors"
    save_file(custom_network(CustomBackbone.model_validate(backbone)).state_dict(), file)
    depth = draw.choice([0.3, 0.5, 0.8, 1.0])
    return {
        "model": {
            "backbone": backbone,
            "weights": str(file),
            "weights_file": str(file),
            "freeze": {"depth": depth},
            "head": draw.choice(HEADS),
        },
        "training": {
            "epochs": 3,
            "batch_size": draw.choice([7, 8, 16, 40]),
            "optimizer": draw.choice(OPTIMIZERS),
            "warm_up": {"epochs": draw.choice([0, 1])},
            "views": draw.choice([None, 1, 2]),
            "precision": draw.choice(["auto", "half"]),
        },
        "augment": draw.choice(["none", "light"]),
        "folds": draw.choice([None, None, 3]),
        "image": {"px": 24},
    }


def losses(history: list[EpochRecord]) -> list[float]:
    return [record.scores[name] for record in history for name in ("train_loss", "val_loss")]


def log_of(folder: Path) -> str:
    return TrialFolder(folder).log.read_text()


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(6, 40))])
def test_cached_and_uncached_training_agree(seed: int, shapes: Path, cache: Cache, tmp_path: Path) -> None:
    config = trial_config(shapes, **drawn(seed, tmp_path))
    cached, plain = both(config, tmp_path, cache)
    assert losses(cached) == pytest.approx(losses(plain), rel=1e-5)
    assert "features are cached after unit" in log_of(tmp_path / "True")
    assert "features" not in log_of(tmp_path / "False")


@pytest.mark.parametrize(
    "model",
    [
        pytest.param({"freeze": {"last_units": 5}, "head": {"dropout": 0.2}}, id="last-units"),
        pytest.param({"head": {"kind": "svm"}}, id="svm"),
    ],
)
def test_so_it_is_with_backbones_of_timm(model: Sections, shapes: Path, cache: Cache, tmp_path: Path) -> None:
    training = {"epochs": 2, "batch_size": 16, "optimizer": {"kind": "sgd", "lr": 0.05}}
    config = trial_config(shapes, model={"backbone": SMALL, "weights": "none", **model}, training=training)
    cached, plain = both(config, tmp_path, cache)
    assert losses(cached) == pytest.approx(losses(plain), rel=1e-5)
    assert "features are cached after unit" in log_of(tmp_path / "True")


def test_so_it_is_with_a_wholly_frozen_encoder_below_a_decoder(cache: Cache, tmp_path: Path) -> None:
    root = tmp_path / "masks"
    write_sample("masks", root, images_per_class={"train": 2, "valid": 1, "test": 1})
    config = segmentation_config(root)
    model = config.model.model_copy(update={"freeze": config.model.freeze.model_copy(update={"depth": 1.0})})
    cached, plain = both(config.model_copy(update={"model": model}), tmp_path, cache)
    assert losses(cached) == pytest.approx(losses(plain), rel=1e-5)
    assert "features are cached after unit 15 of 15" in log_of(tmp_path / "True")


def head_alone(root: Path) -> TrialConfig:
    layers = [{"conv": 4, "pool": 4}, {"conv": 6, "pool": 2}]
    model = {"backbone": {"kind": "custom", "layers": layers}}
    training = {"epochs": 3, "batch_size": 8, "warm_up": {"epochs": 2}}
    return trial_config(root, model=model, training=training, augment="none")


def run(config: TrialConfig, folder: Path, cache: Cache) -> list[EpochRecord]:
    return run_trial(config, TrialFolder(folder), metric="val_accuracy", cache=cache)


def test_a_warm_up_has_features_even_if_nothing_stays_frozen(shapes: Path, cache: Cache, tmp_path: Path) -> None:
    config = head_alone(shapes)
    note_ladder(config, cache)
    run(config, tmp_path, cache)
    lines = [line.split(" INFO ")[1] for line in log_of(tmp_path).splitlines() if "features" in line]
    assert lines == ["features are cached after unit 2 of 2 (layers.1), 0.0234 KiB per image"]


def test_a_cache_without_room_is_told_once_and_changes_nothing(shapes: Path, cache: Cache, tmp_path: Path) -> None:
    config = head_alone(shapes)
    full = Cache(tmp_path / "cache", limit_gb=0.0)
    note_ladder(config, full)
    short = run(config, tmp_path / "short", full)
    note_ladder(config, cache)
    assert losses(short) == pytest.approx(losses(run(config, tmp_path / "whole", cache)), rel=1e-5)
    assert log_of(tmp_path / "short").count("no features are cached: ") == 1
