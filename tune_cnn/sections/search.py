"""The `search` section: how many trials, in which order, and what ranks them."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self, cast, get_args

from pydantic import Field, model_validator

from tune_cnn.sections.base import ListOf, Section


class AshaConfig(Section):
    """Judge trials at `grace_epochs * reduction**k` epochs and go on with the best `1/reduction` of each rung."""

    grace_epochs: int = Field(default=3, ge=1)
    reduction: int = Field(default=3, ge=2)


class PerTrial(Section):
    """What one trial occupies of a node; fractions share a GPU."""

    cpus: float = Field(default=1.0, gt=0)
    gpus: Annotated[float, Field(ge=0)] | Literal["auto"] | None = None
    """None: one GPU where there is one, else none. `auto`: where there is one, the share of it that the greediest
    trials of the space were seen to need as the search began, so that several run on one."""


Metric = Literal[
    "val_accuracy", "val_balanced_accuracy", "val_macro_f1", "val_miou", "val_dice", "val_pixel_accuracy", "-val_loss"
]
METRICS: Mapping[str, tuple[Metric, ...]] = {
    "classification": ("val_accuracy", "val_balanced_accuracy", "val_macro_f1", "-val_loss"),
    "segmentation": ("val_miou", "val_dice", "val_pixel_accuracy", "-val_loss"),
}
"""By task, the default first."""


class FinalsConfig(Section):
    """Train the `top` configurations again, with `repeats` other seeds each, and say which cannot be told apart."""

    top: int = Field(default=3, ge=1)
    repeats: int = Field(default=3, ge=1)


Cost = Literal[
    "-parameters", "-trainable_parameters", "-model_mb", "-seconds", "-peak_memory_mb", "-ms_per_image", "-epochs"
]
Measure = Literal[Metric, Cost]


class SearchConfig(Section):
    """How many configurations are tried, in which order, and what ranks them (higher is better; `-` turns round)."""

    trials: int = Field(default=32, ge=1)
    hours: float | None = Field(default=None, gt=0)
    metric: Metric | ListOf[Measure] = "val_accuracy"
    """Where none is written: val_accuracy for classification, val_miou for segmentation. A list marks, in the column
    `front`, the trials that no other beats in all of its measures; the first ranks."""
    seed: int = Field(default=0, ge=0)
    sampler: Literal["random", "tpe", "bohb"] = "random"
    """`tpe` learns from the trials that ended, `bohb` from all that reached the highest rung of ASHA with enough.
    Neither did better than `random` on the curves that we recorded; see docs/decisions/0014-samplers.md."""
    random_trials: int = Field(default=10, ge=1)
    """Trials drawn at random before `tpe` or `bohb` begins to learn; of bohb every third one after them is, too."""
    asha: AshaConfig | None = AshaConfig()
    concurrent: int | None = Field(default=None, ge=1)
    """None: as many as the machine's or the cluster's resources hold."""
    per_trial: PerTrial = PerTrial()
    keep: int = Field(default=5, ge=1)
    """How many of the best trials keep their weights and are scored once on the test split."""
    finals: FinalsConfig | None = None
    """None: the single best trial is believed. Their time is taken from `hours` beforehand."""

    @property
    def measures(self) -> tuple[Measure, ...]:
        """All that trials are measured by; the first ranks them."""
        return (self.metric,) if isinstance(self.metric, str) else self.metric

    @property
    def ranked_by(self) -> Metric:
        """What ranks, stops and chooses the best epoch."""
        return cast("Metric", self.measures[0])

    @model_validator(mode="after")
    def _a_score_ranks(self) -> Self:
        first, *others = self.measures or ("nothing",)
        if first not in get_args(Metric):
            raise ValueError(f"metric begins with {first}, but trials are ranked by a score; write val_accuracy first")
        if len(set(self.measures)) <= len(others):
            raise ValueError("metric names one measure twice; leave one out")
        return self
