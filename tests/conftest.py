"""What several tests need: a small generated data set, made once, and a config that trains on it in seconds."""

from pathlib import Path
from typing import Any

import pytest

from tune_cnn.config import TrialConfig
from tune_cnn.data.cache import Cache
from tune_cnn.sample import write_sample


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated data set of five classes in class folders."""
    folder = tmp_path_factory.mktemp("generated") / "shapes"
    write_sample("shapes", folder, images_per_class={"train": 6, "valid": 3, "test": 3})
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """A cache for decoded images, shared by all tests as it is by all trials."""
    return Cache(tmp_path_factory.mktemp("cache"))


def trial_config(root: Path, **sections: Any) -> TrialConfig:
    """A small network from random weights on small images; whole sections can be replaced."""
    whole: dict[str, Any] = {
        "name": "made",
        "data": {"kind": "folders", "root": str(root), "splits": {"train": "train", "val": "valid", "test": "test"}},
        "image": {"px": 32},
        "model": {"backbone": "resnet18", "weights": "none", "freeze": {"depth": 0.5}, "head": {"dropout": 0.2}},
        "training": {"epochs": 3, "batch_size": 8, "optimizer": {"kind": "adam", "lr": 1e-3}},
        "augment": "light",
        "seed": 1,
    }
    return TrialConfig.model_validate(whole | sections)
