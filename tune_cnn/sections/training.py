"""The `training` section: how long, how fast, and when to stop."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tune_cnn.sections.base import Fraction, ListOf, Section, Share


class OptimizerSection(Section):
    """What every optimiser shares."""

    lr: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """Factor on the rate from each unit that trains to the one before it; the head has `lr`, the last unit the first
    factor. Units without weights do not count."""


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
    """Epochs at the start in which the whole backbone is frozen, at a rate that stays; then it thaws to `freeze`.

    What `training.epochs` leaves is for the training proper, whose schedule begins then.
    """

    epochs: int = Field(default=0, ge=0)
    """How many at most."""
    lr: float | None = Field(default=None, gt=0)
    """Of the head during the warm-up; null means the optimiser's."""
    stop_patience_epochs: int | None = Field(default=None, ge=1)
    """End the warm-up once this many epochs brought nothing better; null goes through all of `epochs`."""


PrecisionName = Literal["auto", "float32", "half"]
LossTerm = Literal["cross_entropy", "dice", "focal"]
Loss = LossTerm | ListOf[LossTerm]


class TrainingConfig(Section):
    """How long, how fast, and when to stop."""

    epochs: int = Field(default=20, ge=1)
    batch_size: int = Field(default=32, ge=1)
    optimizer: Optimizer = Adam(kind="adam")
    schedule: Schedule = Constant(kind="constant")
    stop_patience_epochs: int | None = Field(default=None, ge=1)
    warm_up: WarmUp = WarmUp()
    loss: Loss = "cross_entropy"
    """What is minimised: one of these, or a list, whose sum is. Dice is for segmentation. The validation loss is cross
    entropy whatever is minimised, so that it compares trials."""
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced` weighs each class by the inverse of its images (or pixels) in training; Dice does so by itself."""
    label_smoothing: Share = 0.0
    views: int | None = Field(default=None, ge=1)
    """How often each training image is augmented: epochs go round so many views of it, which all trials share, and
    fewer cost less. Null draws a new one every epoch."""
    precision: PrecisionName = "auto"
    """`half`: automatic mixed precision, in bfloat16, or in float16 where a GPU has no units for that. `auto`: float32
    on CPUs, and on GPUs what a short probe finds clearly faster. Scores are always had in float32."""

    @property
    def loss_terms(self) -> tuple[LossTerm, ...]:
        """The terms whose sum is minimised."""
        return (self.loss,) if isinstance(self.loss, str) else self.loss

    @model_validator(mode="after")
    def _each_loss_once(self) -> Self:
        if not self.loss_terms:
            raise ValueError("loss is an empty list; write cross_entropy, dice or focal")
        if len(set(self.loss_terms)) < len(self.loss_terms):
            raise ValueError(f"loss lists a term twice: {', '.join(self.loss_terms)}; write each once")
        return self

    @model_validator(mode="after")
    def _warm_up_leaves_epochs(self) -> Self:
        if self.warm_up.epochs >= self.epochs:
            raise ValueError(
                f"warm_up.epochs is {self.warm_up.epochs}, but epochs only {self.epochs}; "
                f"write warm_up: {{epochs: {self.epochs - 1}}} at most"
            )
        return self
