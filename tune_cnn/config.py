"""`TrialConfig`: everything that decides one training run, as strict, frozen sections with units in their names.

A space file has the same shape with searched values in place of fixed ones (see `tune_cnn.space.schema`). Nothing here
imports torch: a config can be checked in milliseconds.
"""

from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Item = TypeVar("Item")
# Strict mode would take a tuple only, but YAML and JSON write lists; the items stay strict.
ListOf = Annotated[tuple[Item, ...], Field(strict=False)]


class Section(BaseModel):
    """A part of a config: says everything, forbids the rest, never changes, takes no NaN and no text for a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True)


# --- data -----------------------------------------------------------------------------------------------------------


class Splits(Section):
    """Where the three splits come from: a folder or list by name, or a fraction drawn from what is left for training.

    `train` may be left out: then everything below the root that is no other split is drawn from.
    """

    train: str | None = None
    val: str | Fraction
    test: str | Fraction | None = None
    seed: int = 0

    @model_validator(mode="after")
    def _leaves_something_to_train_on(self) -> Self:
        drawn = sum(part for part in (self.val, self.test) if isinstance(part, float))
        if drawn >= 1:
            raise ValueError(
                f"val and test take {drawn:g} of the images together; write fractions that leave some to train on"
            )
        return self


class DataSection(Section):
    """What every kind of data shares."""

    root: str
    on_bad: Literal["error", "skip"] = "error"


class FoldersData(DataSection):
    """One folder per class, below one folder per split or below the root."""

    kind: Literal["folders"]
    splits: Splits


class BoxesCsvData(DataSection):
    """Bounding boxes in a CSV per split folder; an image's label is its dominant class, argmax(total area x count)."""

    kind: Literal["boxes_csv"]
    splits: Splits
    annotations: str = "_annotations.csv"
    label: Literal["dominant"] = "dominant"


class ListsData(DataSection):
    """Text files with a path and a label per line; numeric labels may be named by a `classes` file (`id name`)."""

    kind: Literal["lists"]
    splits: Splits
    classes: str | None = None


Data = Annotated[FoldersData | BoxesCsvData | ListsData, Field(discriminator="kind")]


class ImageConfig(Section):
    """How a decoded image becomes a square of `px` pixels."""

    px: int = Field(default=224, ge=16, le=2048)
    fit: Literal["pad", "stretch", "crop"] = "pad"
    max_megapixels: float = Field(default=100.0, gt=0)


# --- model ----------------------------------------------------------------------------------------------------------


class Freeze(Section):
    """How much of the backbone stands still, in exactly one of four ways; nothing written means nothing frozen."""

    depth: float | None = Field(default=None, ge=0, le=1)
    last_units: int | None = Field(default=None, ge=0)
    last_layers: int | None = Field(default=None, ge=0)
    stride: Literal[4, 8, 16, 32] | None = None

    @model_validator(mode="after")
    def _one_way_only(self) -> Self:
        written = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(written) > 1:
            raise ValueError(f"{' and '.join(written)} are both written; keep one of them")
        return self


class HeadConfig(Section):
    """Dense layers between the pooled features and the classes."""

    hidden: ListOf[Annotated[int, Field(ge=1)]] = ()
    batch_norm: bool = False
    dropout: Share = 0.0


class ModelConfig(Section):
    """A backbone, the weights it starts from, how much of it is frozen, and the head on top."""

    backbone: str
    weights: str = "imagenet"
    """`imagenet`, `none`, or a safetensors file (relative to the space file's project)."""
    weights_file: str | None = None
    """The local file that `weights` was resolved to; filled in by the search, so that no trial asks the network."""
    freeze: Freeze = Freeze()
    head: HeadConfig = HeadConfig()


# --- training -------------------------------------------------------------------------------------------------------


class OptimizerSection(Section):
    """What every optimiser shares."""

    lr: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)


class Adam(OptimizerSection):
    """Adam; weight decay as an L2 term."""

    kind: Literal["adam"]


class AdamW(OptimizerSection):
    """Adam with decoupled weight decay."""

    kind: Literal["adamw"]


class Sgd(OptimizerSection):
    """Stochastic gradient descent with momentum."""

    kind: Literal["sgd"]
    momentum: Share = 0.9
    nesterov: bool = False

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0; write momentum: 0.9")
        return self


class RmsProp(OptimizerSection):
    """RMSprop."""

    kind: Literal["rmsprop"]
    momentum: Share = 0.0


Optimizer = Annotated[Adam | AdamW | Sgd | RmsProp, Field(discriminator="kind")]


class Plateau(Section):
    """Cut the learning rate when what is watched has not improved for `patience_epochs` epochs."""

    kind: Literal["plateau"]
    factor: Fraction = 0.1
    patience_epochs: int = Field(default=3, ge=1)
    watch: Literal["val_loss", "score"] = "val_loss"
    min_lr: float = Field(default=0.0, ge=0)


class OneCycle(Section):
    """Up to the optimiser's `lr` within the first `rise` of the training, then down (Smith and Topin, 2018)."""

    kind: Literal["one_cycle"]
    rise: Fraction = 0.3


class Cosine(Section):
    """From the optimiser's `lr` down to `final_fraction` of it along half a cosine."""

    kind: Literal["cosine"]
    final_fraction: Share = 0.0


class Constant(Section):
    """The optimiser's `lr` throughout."""

    kind: Literal["constant"]


Schedule = Annotated[Plateau | OneCycle | Cosine | Constant, Field(discriminator="kind")]


class WarmUp(Section):
    """Epochs at the start in which the whole backbone is frozen; then it is unfrozen to `freeze`."""

    epochs: int = Field(default=0, ge=0)


class TrainingConfig(Section):
    """How long, how fast, and when to stop."""

    epochs: int = Field(default=20, ge=1)
    batch_size: int = Field(default=32, ge=1)
    optimizer: Optimizer = Adam(kind="adam")
    schedule: Schedule = Constant(kind="constant")
    stop_patience_epochs: int | None = Field(default=None, ge=1)
    warm_up: WarmUp = WarmUp()
    class_weights: Literal["none", "balanced"] = "none"
    label_smoothing: Share = 0.0
    amp: bool = True
    """Automatic mixed precision; on GPUs only."""

    @model_validator(mode="after")
    def _warm_up_leaves_epochs(self) -> Self:
        if self.warm_up.epochs >= self.epochs:
            raise ValueError(
                f"warm_up.epochs is {self.warm_up.epochs}, but epochs only {self.epochs}; "
                f"write warm_up: {{epochs: {self.epochs - 1}}} at most"
            )
        return self


class Transform(Section):
    """One albumentations transform by name, with its arguments."""

    transform: str
    arguments: dict[str, Any] = {}


Policy = Literal["none", "light", "strong"] | ListOf[Transform]


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


# --- search ---------------------------------------------------------------------------------------------------------


class AshaConfig(Section):
    """Judge trials at `grace_epochs * reduction**k` epochs and go on with the best `1/reduction` of each rung."""

    grace_epochs: int = Field(default=3, ge=1)
    reduction: int = Field(default=3, ge=2)


class PerTrial(Section):
    """What one trial occupies of a node; fractions share a GPU."""

    cpus: float = Field(default=1.0, gt=0)
    gpus: float | None = Field(default=None, ge=0)
    """None: one GPU where there is one, else none."""


Metric = Literal["val_accuracy", "val_balanced_accuracy", "val_macro_f1", "-val_loss"]


class SearchConfig(Section):
    """How many configurations are tried, in which order, and what ranks them (higher is better; `-` turns round)."""

    trials: int = Field(default=32, ge=1)
    hours: float | None = Field(default=None, gt=0)
    metric: Metric = "val_accuracy"
    seed: int = Field(default=0, ge=0)
    sampler: Literal["tpe", "random"] = "tpe"
    random_trials: int = Field(default=10, ge=1)
    """Trials drawn at random before the sampler begins to learn."""
    asha: AshaConfig | None = AshaConfig()
    concurrent: int | None = Field(default=None, ge=1)
    """None: as many as the machine's or the cluster's resources hold."""
    per_trial: PerTrial = PerTrial()
    keep: int = Field(default=5, ge=1)
    """How many of the best trials keep their weights and are scored once on the test split."""
