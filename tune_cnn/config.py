"""`TrialConfig`: everything that decides one training run, as strict, frozen sections with units in their names.

A space file has the same shape with searched values in place of fixed ones (see `tune_cnn.space.schema`). Nothing here
imports torch: a config can be checked in milliseconds.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from tune_cnn.sections.base import Section
from tune_cnn.sections.data import Data, MasksData
from tune_cnn.sections.image import ImageConfig, Policy
from tune_cnn.sections.model import ModelConfig
from tune_cnn.sections.training import TrainingConfig

Task = Literal["classification", "segmentation"]


class TrialConfig(Section):
    """Everything that decides one training run. The same config, seed and machine give the same curve on a CPU."""

    name: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    task: Task = "classification"
    data: Data
    image: ImageConfig = ImageConfig()
    model: ModelConfig
    training: TrainingConfig = TrainingConfig()
    augment: Policy = "none"
    folds: int | None = Field(default=None, ge=2, le=20)
    """Train once per fold of the training and validation images, and score by the mean; null trains once."""
    seed: int = Field(default=0, ge=0)
    cpu_threads: int = Field(default=1, ge=1)
    """Threads of torch within the trial: the order of a sum depends on it, so it is part of what decides a run."""

    @model_validator(mode="after")
    def _parts_are_of_one_task(self) -> Self:
        masks, decoder = isinstance(self.data, MasksData), self.model.decoder
        if self.task == "classification":
            if masks:
                raise ValueError("data.kind masks is for segmentation; write task: segmentation")
            if decoder is not None:
                raise ValueError(
                    f"model.decoder {decoder} is for segmentation; leave it out, or write task: segmentation"
                )
            if "dice" in self.training.loss_terms:
                raise ValueError("training.loss dice is for segmentation; write cross_entropy or focal")
        elif not masks:
            raise ValueError(
                f"data.kind {self.data.kind} gives a class per image, but task segmentation needs one per pixel; "
                "write kind: masks"
            )
        elif decoder is None:
            raise ValueError("model needs a decoder for task segmentation; write decoder: unet")
        return self
