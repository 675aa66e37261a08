"""Read a training run back from its live objects: the model, the optimiser, the schedule, the batches.

`live` goes by the config's dotted names and is compared with it; `observed` is what no config value states outright.
"""

from collections.abc import Mapping
from typing import Any

from torch import optim
from torch.optim import lr_scheduler

from tune_cnn.config import TrialConfig
from tune_cnn.data.augment import Augmenter, build_policy
from tune_cnn.models.classifier import Classifier
from tune_cnn.models.units import batch_norms, units_of
from tune_cnn.training.loop import Training
from tune_cnn.training.schedule import LearningRate

Live = Mapping[str, Any]

_OPTIMIZERS = {optim.Adam: "adam", optim.AdamW: "adamw", optim.SGD: "sgd", optim.RMSprop: "rmsprop"}


def read_back(training: Training, asked: TrialConfig) -> dict[str, dict[str, Any]]:
    """Give `live` and `observed`, both plain data, as a phase of a training run begins.

    Args:
        training: whose model, optimiser and augmenter are looked at.
        asked: the config; only the policy's name is taken from it, if the live transforms are those it stands for.
    """
    model = training.model
    transforms = training.augment.describe() if isinstance(training.augment, Augmenter) else []
    return {
        "live": {
            "image.px": int(training.train.images[:1].shape[1]),
            **_head(model),
            **_optimizer(training.optimizer),
            **_schedule(training.learning_rate),
            **_plan(training),
            "augment": _policy(transforms, asked),
        },
        "observed": {
            "phase": training.phase.name,
            "frozen_units": _frozen_units(model),
            "units": len(model.units),
            "trainable_parameters": sum(one.numel() for one in model.parameters() if one.requires_grad),
            "learning_rates": [float(group["lr"]) for group in training.optimizer.param_groups],
            "batch_norm": vars(model.batch_norm_modes()),
            "dropout": list(model.dropout()),
            "transforms": transforms,
        },
    }


def _frozen_units(model: Classifier) -> int:
    """Count the leading units that take no gradient and stay in eval mode when the model is told to train."""
    model.train()
    frozen = 0
    for _, unit in units_of(model.backbone):
        if any(one.requires_grad for one in unit.parameters()) or any(module.training for module in unit.modules()):
            break
        frozen += 1
    return frozen


def _policy(transforms: list[dict[str, Any]], asked: TrialConfig) -> Any:
    """Give the policy as it was asked for if the live transforms are what it stands for; else those themselves."""
    wanted = build_policy(asked.augment, asked.image.px).describe()
    return asked.model_dump(mode="json")["augment"] if transforms == wanted else transforms


def _head(model: Classifier) -> Live:
    *hidden, _classes = model.head_widths()
    shares = sorted(set(model.dropout()))
    live: dict[str, Any] = {
        "model.head.hidden": hidden,
        "model.head.dropout": shares[0] if len(shares) == 1 else shares or 0.0,
    }
    if hidden:  # without hidden layers there is nothing a batch norm could follow
        live["model.head.batch_norm"] = bool(batch_norms(model.head))
    return live


def _optimizer(optimizer: optim.Optimizer) -> Live:
    group = optimizer.param_groups[0]
    live = {
        "training.optimizer.kind": _OPTIMIZERS[type(optimizer)],
        # A schedule by step keeps the rate it was given beside the one it has set for the next step.
        "training.optimizer.lr": float(group.get("max_lr", group.get("initial_lr", group["lr"]))),
        "training.optimizer.weight_decay": float(group["weight_decay"]),
    }
    if "momentum" in group:
        live["training.optimizer.momentum"] = float(group["momentum"])
    return live


def _schedule(rate: LearningRate) -> Live:
    prefix = "training.schedule"
    match rate.per_epoch or rate.per_step:
        case lr_scheduler.ReduceLROnPlateau() as plateau:
            return {
                f"{prefix}.kind": "plateau",
                f"{prefix}.factor": float(plateau.factor),
                f"{prefix}.patience_epochs": plateau.patience + 1,
                f"{prefix}.min_lr": float(plateau.min_lrs[0]),
            }
        case lr_scheduler.OneCycleLR():
            return {f"{prefix}.kind": "one_cycle"}
        case lr_scheduler.CosineAnnealingLR() as cosine:
            return {f"{prefix}.kind": "cosine", f"{prefix}.final_fraction": float(cosine.eta_min / cosine.base_lrs[0])}
        case _:
            return {f"{prefix}.kind": "constant"}


def _plan(training: Training) -> Live:
    loss = training.objective.train_loss
    return {
        "training.epochs": training.phases[-1].last_epoch,
        "training.warm_up.epochs": training.phases[0].epochs if len(training.phases) > 1 else 0,
        "training.stop_patience_epochs": training.stopping.patience_epochs,
        "training.batch_size": training.train.batch_size,
        "training.label_smoothing": float(loss.label_smoothing),
        "training.class_weights": "none" if loss.weight is None else "balanced",
    }
