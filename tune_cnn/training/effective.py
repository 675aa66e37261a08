"""Read a training run back from its live objects: the model, the optimiser, the schedule, the batches.

`live` goes by the config's dotted names and is compared with it; `observed` is what no config value states outright.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn, optim
from torch.optim import lr_scheduler

from tune_cnn.config import TrialConfig
from tune_cnn.data.augment import build_policy
from tune_cnn.models.custom import ConvBlock
from tune_cnn.models.network import Network
from tune_cnn.models.units import units_of
from tune_cnn.training.baseline import FIT, LinearBaseline
from tune_cnn.training.loop import Training
from tune_cnn.training.schedule import HalfCosine, LearningRate

Live = Mapping[str, Any]

_OPTIMIZERS = {optim.Adam: "adam", optim.AdamW: "adamw", optim.SGD: "sgd", optim.RMSprop: "rmsprop"}


def read_back(training: Training | LinearBaseline, asked: TrialConfig) -> dict[str, dict[str, Any]]:
    """Give `live` and `observed`, both plain data, as a phase of a training run begins.

    Args:
        training: whose model, optimiser and augmenter are looked at.
        asked: the config; only the policy's name is taken from it, if the live transforms are those it stands for.
    """
    model = training.model
    layers = _layers(model.trunk)
    live: Live = {"image.px": training.val.sample(1).shape[-1], **model.live_settings()}
    observed = {
        "frozen_units": _frozen_units(model),
        "units": len(model.units),
        "trainable_parameters": model.parameter_counts()[1],
        "layers": [block.describe() for block in layers],
        "head_convolutions": [block.describe() for block in _layers(model) if block not in layers],
        "batch_norm": vars(model.batch_norm_modes()),
        "dropout": list(model.dropout()),
        "features_cached_after": training.feeds.train.place(),
    }
    if isinstance(training, LinearBaseline):
        return {"live": {**live, **training.live()}, "observed": observed | {"phase": FIT, "transforms": []}}
    transforms = training.train.views.augmenter.describe()
    rates = [float(group["lr"]) for group in training.optimizer.param_groups]
    phase = _warm_up(training) if training.phase.is_warm_up else _training_proper(training)
    return {
        "live": {**live, **_batches(training), **phase, "augment": _policy(transforms, asked)},
        "observed": observed
        | {
            "phase": training.phase.name,
            "learning_rates": rates,
            "transforms": transforms,
            "precision": str(training.step.precision),
        },
    }


def _layers(module: nn.Module) -> list[ConvBlock]:
    return [block for block in module.modules() if isinstance(block, ConvBlock)]


def _frozen_units(model: Network) -> int:
    """Count the leading units that take no gradient and stay in eval mode when the model is told to train."""
    model.train()
    frozen = 0
    for _, unit in units_of(model.trunk):
        if any(one.requires_grad for one in unit.parameters()) or any(module.training for module in unit.modules()):
            break
        frozen += 1
    return frozen


def _policy(transforms: list[dict[str, Any]], asked: TrialConfig) -> Any:
    """Give the policy as it was asked for if the live transforms are what it stands for; else those themselves."""
    wanted = build_policy(asked.augment, asked.image.px, masks=asked.task == "segmentation").describe()
    return asked.model_dump(mode="json")["augment"] if transforms == wanted else transforms


def _warm_up(training: Training) -> Live:
    live = {
        "training.warm_up.epochs": training.phase.epochs,
        "training.warm_up.stop_patience_epochs": training.stopping.patience_epochs,
    }
    if training.config.warm_up.lr is None:
        return live
    return live | {"training.warm_up.lr": _rate(training.optimizer.param_groups[-1])}


def _training_proper(training: Training) -> Live:
    return {
        **_optimizer(training.optimizer, units_train=len(training.model.trainable_parts()) > 1),
        **_schedule(training.learning_rate),
        "training.epochs": training.phase.last_epoch,
        "training.stop_patience_epochs": training.stopping.patience_epochs,
    }


def _batches(training: Training) -> Live:
    loss = training.objective.train_loss
    return {
        "training.batch_size": training.train.plain.batch_size,
        "training.views": training.train.views.views,
        **_precision(training),
        "training.loss": list(loss.terms) if isinstance(training.config.loss, tuple) else "".join(loss.terms),
        "training.label_smoothing": float(loss.label_smoothing),
        "training.class_weights": "none" if loss.weight is None else "balanced",
    }


def _precision(training: Training) -> Live:
    """What was asked for is read back from what is at work; of `auto` anything is right, and `observed` says what."""
    if training.config.precision == "auto":
        return {}
    return {"training.precision": "float32" if training.step.precision.dtype == "float32" else "half"}


def _optimizer(optimizer: optim.Optimizer, *, units_train: bool) -> Live:
    *_, group = optimizer.param_groups
    live = {
        "training.optimizer.kind": _OPTIMIZERS[type(optimizer)],
        "training.optimizer.lr": _rate(group),
        "training.optimizer.weight_decay": float(group["weight_decay"]),
    }
    if units_train:  # with the head alone there is nothing to which the rate could decay
        rates = [_rate(each) for each in optimizer.param_groups]
        live["training.optimizer.layer_decay"] = rates[-2] / rates[-1] if len(rates) > 1 else 1.0
    if "momentum" in group:
        live["training.optimizer.momentum"] = float(group["momentum"])
    return live


def _rate(group: Mapping[str, Any]) -> float:
    """A schedule by step keeps the rate it was given beside the one it has set for the next step."""
    return float(group.get("max_lr", group.get("initial_lr", group["lr"])))


def _schedule(rate: LearningRate) -> Live:
    prefix = "training.schedule"
    match rate.per_epoch or rate.per_step:
        case lr_scheduler.ReduceLROnPlateau() as plateau:
            return {
                f"{prefix}.kind": "plateau",
                f"{prefix}.factor": float(plateau.factor),
                f"{prefix}.patience_epochs": plateau.patience + 1,
                f"{prefix}.min_lr": float(plateau.min_lrs[-1]),
            }
        case lr_scheduler.OneCycleLR():
            return {f"{prefix}.kind": "one_cycle"}
        case lr_scheduler.LambdaLR(lr_lambdas=[*_, HalfCosine() as half]):
            return {f"{prefix}.kind": "cosine", f"{prefix}.final_fraction": half.final_fraction}
        case _:
            return {f"{prefix}.kind": "constant"}
