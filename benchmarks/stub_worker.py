"""In a worker of Ray: trials that sleep instead of training, in the place of `tune_cnn.trial`."""

import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

from benchmarks.simulation import epoch_of, facts_of, write_read_back
from tune_cnn.config import TrialConfig
from tune_cnn.results.records import TrialFolder

EPOCH_SECONDS = 1.0


def install() -> None:
    """Take the place of the module that trains; Ray calls this once in each worker, before its first trial."""
    module = ModuleType("tune_cnn.trial")
    vars(module)["run_trial"] = run_trial
    sys.modules["tune_cnn.trial"] = module


def run_trial(
    config: TrialConfig,
    folder: TrialFolder,
    *,
    on_epoch: Callable[..., Any],
    on_read_back: Callable[..., Any],
    **_given: object,
) -> None:
    """Sleep through the epochs of a config, and tell of each."""
    folder.path.mkdir(parents=True, exist_ok=True)
    on_read_back(write_read_back(config, folder))
    for epoch in range(1, config.training.epochs + 1):
        time.sleep(EPOCH_SECONDS)
        on_epoch(epoch_of(config, epoch, EPOCH_SECONDS), facts_of(config), 500.0)
