"""Trials of a price that is known by hand: epochs of so many seconds, nothing else."""

from typing import Any

from tune_cnn.planning.cost import Build, EpochPrice, Price
from tune_cnn.planning.work import ModelKey, Work
from tune_cnn.sections.search import SearchConfig
from tune_cnn.sections.training import TrainingConfig


def training(epochs: int, **more: Any) -> TrainingConfig:
    return TrainingConfig.model_validate({"epochs": epochs, **more})


def work(epochs: int = 5, **changes: Any) -> Work:
    given: dict[str, Any] = {
        "model": ModelKey("net", 32),
        "units": 4,
        "frozen_units": 2,
        "policy": "light",
        "training": training(epochs),
        "folds": 1,
        "fitted": False,
    }
    return Work(**given | changes)


def price(
    seconds: float, epochs: int = 5, *, warm_up: float = 0.0, builds: tuple[Build, ...] = (), **more: Any
) -> Price:
    given: dict[str, Any] = {
        "work": work(epochs),
        "begin_seconds": 0.0,
        "warm_up": EpochPrice(warm_up),
        "train": EpochPrice(seconds, each_view=builds),
        "save_seconds": 0.0,
        "save_best_seconds": 0.0,
        "views": None,
    }
    return Price(**given | more)


def search_of(trials: int, **more: Any) -> SearchConfig:
    return SearchConfig.model_validate({"trials": trials, "asha": None, **more})
