"""Optimisers and learning-rate schedules, and the one way both are stepped."""

from collections.abc import Iterable
from math import ceil

from torch import nn, optim
from torch.optim import lr_scheduler

from tune_cnn.sections.training import Adam, AdamW, Cosine, OneCycle, Optimizer, Plateau, RmsProp, Schedule, Sgd


def build_optimizer(config: Optimizer, parameters: Iterable[nn.Parameter], *, fused: bool = True) -> optim.Optimizer:
    """Build the optimiser over the parameters that are to be trained.

    Args:
        config: which optimiser, and its settings.
        parameters: those with a gradient; frozen ones would cost memory for nothing.
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


class LearningRate:
    """A schedule that is told of every step and every epoch, and knows itself which of the two it acts on."""

    def __init__(self, config: Schedule, optimizer: optim.Optimizer, *, epochs: int, steps_per_epoch: int) -> None:
        self.config = config
        self._optimizer = optimizer
        self.per_epoch: lr_scheduler.ReduceLROnPlateau | None = None
        self.per_step: lr_scheduler.LRScheduler | None = None
        steps = epochs * steps_per_epoch
        match config:
            case Plateau():
                # torch cuts once *more* than `patience` epochs brought nothing: one less cuts after exactly as many.
                self.per_epoch = lr_scheduler.ReduceLROnPlateau(
                    optimizer,
                    mode="min" if config.watch == "val_loss" else "max",
                    factor=config.factor,
                    patience=config.patience_epochs - 1,
                    min_lr=config.min_lr,
                    # A tie is no gain: torch's relative threshold takes a tie of negative scores for one.
                    threshold=0.0,
                    threshold_mode="abs",
                )
            case OneCycle():
                peak = [group["lr"] for group in optimizer.param_groups]
                # One step more than there are: the schedule is stepped after the last batch too.
                self.per_step = lr_scheduler.OneCycleLR(
                    optimizer, max_lr=peak, total_steps=steps + 1, pct_start=config.rise, cycle_momentum=False
                )
            case Cosine():
                low = min(group["lr"] for group in optimizer.param_groups) * config.final_fraction
                self.per_step = lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps, eta_min=low)

    @property
    def lr(self) -> float:
        """The learning rate of the next step, read from the optimiser itself."""
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
