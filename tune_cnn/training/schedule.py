"""Optimisers and learning-rate schedules, and the one way both are stepped."""

from collections.abc import Sequence
from math import ceil, cos, pi
from typing import Any

from torch import nn, optim
from torch.optim import lr_scheduler

from tune_cnn.sections.training import Adam, AdamW, Cosine, OneCycle, Optimizer, Plateau, RmsProp, Schedule, Sgd

Groups = list[dict[str, Any]]


def parameter_groups(parts: Sequence[list[nn.Parameter]], *, lr: float, layer_decay: float) -> Groups:
    """Give each part of a model its learning rate: the last one, the head, `lr`, each one before it less.

    Args:
        parts: the parameters that train, the head's last; frozen ones would cost memory for nothing.
        lr: of the head.
        layer_decay: from a part to the one before it; 1 makes one group of all, which is faster.
    """
    if layer_decay == 1:
        return [{"params": [one for part in parts for one in part], "lr": lr}]
    return [
        {"params": part, "lr": lr * layer_decay**distance}
        for distance, part in zip(range(len(parts) - 1, -1, -1), parts, strict=True)
    ]


def build_optimizer(
    config: Optimizer, parameters: Sequence[nn.Parameter] | Groups, *, fused: bool = True
) -> optim.Optimizer:
    """Build the optimiser over the parameters that are to be trained.

    Args:
        config: which optimiser, and its settings.
        parameters: those with a gradient, or groups of them with rates of their own, the head's last.
        fused: one kernel for all parameters; about five times faster on a CPU, and the same arithmetic.
    """
    lr, weight_decay = config.lr, config.weight_decay
    match config:
        case Adam():
            return optim.Adam(parameters, lr=lr, weight_decay=weight_decay, fused=fused)
        case AdamW():
            return optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, fused=fused)
        case Sgd():
            return optim.SGD(
                parameters,
                lr=lr,
                weight_decay=weight_decay,
                momentum=config.momentum,
                nesterov=config.nesterov,
                fused=fused,
            )
        case RmsProp():
            return optim.RMSprop(parameters, lr=lr, weight_decay=weight_decay, momentum=config.momentum)


class HalfCosine:
    """The factor on a rate after so many steps: from 1 down to `final_fraction` along half a cosine.

    An object and no function: torch writes the fields of objects into the state of a schedule, where they can be read.
    """

    def __init__(self, steps: int, final_fraction: float) -> None:
        self.steps = steps
        self.final_fraction = final_fraction

    def __call__(self, step: int) -> float:
        """Give the factor after `step` steps; beyond the last it stays."""
        fallen = (1 - cos(pi * min(step / self.steps, 1.0))) / 2
        return 1 - (1 - self.final_fraction) * fallen


class LearningRate:
    """A schedule that is told of every step and every epoch, and knows itself which of the two it acts on."""

    def __init__(self, config: Schedule, optimizer: optim.Optimizer, *, epochs: int, steps_per_epoch: int) -> None:
        self.config = config
        self._optimizer = optimizer
        self.per_epoch: lr_scheduler.ReduceLROnPlateau | None = None
        self.per_step: lr_scheduler.LRScheduler | None = None
        steps = epochs * steps_per_epoch
        rates = [float(group["lr"]) for group in optimizer.param_groups]
        match config:
            case Plateau():
                # torch cuts once *more* than `patience` epochs brought nothing: one less cuts after exactly as many.
                self.per_epoch = lr_scheduler.ReduceLROnPlateau(
                    optimizer,
                    mode="min" if config.watch == "val_loss" else "max",
                    factor=config.factor,
                    patience=config.patience_epochs - 1,
                    # The floor is the head's; a group at a tenth of its rate has a tenth of its floor.
                    min_lr=[config.min_lr * lr / self.lr for lr in rates],
                    # torch leaves cuts by less than 1e-8 out, which would spare the slowest groups.
                    eps=0.0,
                    # A tie is no gain: torch's relative threshold takes a tie of negative scores for one.
                    threshold=0.0,
                    threshold_mode="abs",
                )
            case OneCycle():
                # One step more than there are: the schedule is stepped after the last batch too.
                self.per_step = lr_scheduler.OneCycleLR(
                    optimizer, max_lr=rates, total_steps=steps + 1, pct_start=config.rise, cycle_momentum=False
                )
            case Cosine():
                # torch's own has one final rate for all groups; this one has a final fraction.
                self.per_step = lr_scheduler.LambdaLR(optimizer, HalfCosine(steps, config.final_fraction))

    @property
    def lr(self) -> float:
        """The learning rate of the head in the next step, read from the optimiser itself."""
        return float(self._optimizer.param_groups[-1]["lr"])

    def after_step(self) -> None:
        """One optimiser step was made."""
        if self.per_step is not None:
            self.per_step.step()

    def after_epoch(self, *, val_loss: float, score: float) -> None:
        """One epoch was validated."""
        if self.per_epoch is not None and isinstance(self.config, Plateau):
            self.per_epoch.step(val_loss if self.config.watch == "val_loss" else score)

    def state(self) -> dict[str, object]:
        """Give the whole state of the torch schedule, plain data; empty for a constant rate."""
        schedule = self.per_epoch or self.per_step
        return schedule.state_dict() if schedule else {}

    def restore(self, state: dict[str, object]) -> None:
        """Go on where `state` was taken."""
        schedule = self.per_epoch or self.per_step
        if schedule:
            schedule.load_state_dict(state)


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Count the batches of an epoch; a last batch of one image joins the one before (BatchNorm cannot use it)."""
    return max(1, ceil(images / batch_size) - (images % batch_size == 1 and images > batch_size))
