"""`TrialConfig`: everything that decides one training run, as strict, frozen sections with units in their names.

A space file has the same shape with searched values in place of fixed ones (see `tune_cnn.space.schema`). Nothing here
imports torch: a config can be checked in milliseconds.
"""

from typing import Literal

from pydantic import Field

from tune_cnn.sections.base import Section
from tune_cnn.sections.data import Data
from tune_cnn.sections.image import ImageConfig, Policy
from tune_cnn.sections.model import ModelConfig
from tune_cnn.sections.training import TrainingConfig


class TrialConfig(Section):
    """Everything that decides one training run. The same config, seed and machine give the same curve on a CPU."""

    name: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    task: Literal["classification"] = "classification"
    data: Data
    image: ImageConfig = ImageConfig()
    model: ModelConfig
    training: TrainingConfig = TrainingConfig()
    augment: Policy = "none"
    seed: int = Field(default=0, ge=0)
    cpu_threads: int = Field(default=1, ge=1)
    """Threads of torch within the trial: the order of a sum depends on it, so it is part of what decides a run."""
