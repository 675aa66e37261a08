"""Doubts about a space: values that are allowed, but whose trials would be wasted or judged unfairly.

Each rule looks at one drawn config; `lint` shows it the defaults, every label and end of range, and pairs of these, and
keeps the worst case of each rule.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from tune_cnn.config import TrialConfig
from tune_cnn.sections.search import SearchConfig
from tune_cnn.sections.training import Plateau
from tune_cnn.space.checks import MOST_PAIRS, Values, draw_with, pairs, related_names, singles
from tune_cnn.space.domains import FloatRange, IntRange, Parameter
from tune_cnn.space.schema import Space

DECADE = 10.0
FEWEST_VAL_IMAGES = 100  # with fewer, one image moves the accuracy by more than 1 %


@dataclass(frozen=True)
class LintWarning:
    """A doubt about a space, with an id to search for."""

    id: str
    text: str


@dataclass(frozen=True)
class _Case:
    """One drawn config, and what a rule needs to know besides."""

    config: TrialConfig
    search: SearchConfig
    searched: frozenset[str]
    """The dotted names that were drawn."""
    ranged: frozenset[str]
    """Those of them that were drawn from a range, so that an end of it is hardly ever met."""
    train_images: int | None


_Finding = tuple[float, str]
"""How bad, and the text; of several findings of a rule the worst is told."""


def lint(space: Space, *, train_images: int | None = None, val_images: int | None = None) -> list[LintWarning]:
    """The doubts about a space, one per rule; empty if there is none.

    Args:
        space: what to look at, over all branches and both ends of every range.
        train_images: how many images there are to train on; None leaves out the rule that needs it.
        val_images: how many images there are to validate on; None leaves out the rule that needs it.
    """
    worst: dict[str, _Finding] = {}
    for case in _cases(space, train_images):
        for name, rule in _RULES.items():
            finding = rule(case)
            if finding is not None and (name not in worst or finding[0] > worst[name][0]):
                worst[name] = finding
    found = [LintWarning(name, worst[name][1]) for name in _RULES if name in worst]
    return found + list(_doubts_of_the_whole(space, val_images))


_TOGETHER = (
    "model.weights",
    "model.freeze",
    "model.head",
    "training.epochs",
    "training.optimizer",
    "training.schedule",
    "training.stop_patience_epochs",
    "training.warm_up",
    "training.views",
)


def _cases(space: Space, train_images: int | None) -> Iterator[_Case]:
    together = tuple(each for each in space.parameters if any(related_names(each.name, name) for name in _TOGETHER))
    draws: Iterator[Values] = itertools.chain(
        [{}], singles(space.parameters), itertools.islice(pairs(together), MOST_PAIRS)
    )
    ranges = frozenset(each.key for each in space.parameters if isinstance(each.domain, FloatRange))
    for values in draws:
        drawn = draw_with(space.root, values)
        try:
            config = TrialConfig.model_validate(drawn.tree)
        except ValidationError:  # three values that do not go together; read_space tries two at a time
            continue
        names = {each.key: each.name for each in space.parameters if each.key in drawn.values}
        ranged = frozenset(names[key] for key in drawn.values if key in ranges)
        yield _Case(config, space.search, frozenset(drawn.named), ranged, train_images)


def _plateau_after_stop(case: _Case) -> _Finding | None:
    schedule, stop = case.config.training.schedule, case.config.training.stop_patience_epochs
    if not isinstance(schedule, Plateau) or stop is None or schedule.patience_epochs < stop:
        return None
    patience = schedule.patience_epochs
    return patience - stop, (
        f"training.schedule.patience_epochs {patience} is not below training.stop_patience_epochs {stop}: training "
        f"stops before the learning rate can fall; write stop_patience_epochs {patience + 1} or more"
    )


def _plateau_after_grace(case: _Case) -> _Finding | None:
    schedule, asha = case.config.training.schedule, case.search.asha
    warm_up = case.config.training.warm_up.epochs
    if not isinstance(schedule, Plateau) or asha is None or warm_up + schedule.patience_epochs < asha.grace_epochs:
        return None
    patience = schedule.patience_epochs
    after = f" after training.warm_up.epochs {warm_up}" if warm_up else ""
    return warm_up + patience, (
        f"training.schedule.patience_epochs {patience}{after} is not below search.asha.grace_epochs "
        f"{asha.grace_epochs}: a trial is judged before its learning rate can fall; "
        f"write grace_epochs {warm_up + patience + 1} or more"
    )


def _plateau_after_end(case: _Case) -> _Finding | None:
    schedule, (epochs, name) = case.config.training.schedule, _epochs_of_training(case)
    if not isinstance(schedule, Plateau) or schedule.patience_epochs < epochs:
        return None
    return schedule.patience_epochs - epochs, (
        f"training.schedule.patience_epochs {schedule.patience_epochs} is not below {name} {epochs}: the "
        "learning rate never falls, and factor and patience change nothing; write a shorter patience or more epochs"
    )


def _epochs_of_training(case: _Case) -> tuple[int, str]:
    """The epochs of the training proper, and what to call them."""
    training = case.config.training
    left = training.epochs - training.warm_up.epochs
    return left, "training.epochs" if not training.warm_up.epochs else "the epochs that training.warm_up leaves,"


def _plateau_floor(case: _Case) -> _Finding | None:
    schedule, lr = case.config.training.schedule, case.config.training.optimizer.lr
    if not isinstance(schedule, Plateau) or schedule.min_lr < lr:
        return None
    return schedule.min_lr / lr, (
        f"training.schedule.min_lr {schedule.min_lr:g} is not below training.optimizer.lr {lr:g}: the learning rate "
        f"never falls, and factor and patience change nothing; write a min_lr below {lr:g}"
    )


def _warm_up_after_grace(case: _Case) -> _Finding | None:
    warm_up, asha = case.config.training.warm_up.epochs, case.search.asha
    if asha is None or warm_up < asha.grace_epochs:
        return None
    return warm_up, (
        f"training.warm_up.epochs {warm_up} is not below search.asha.grace_epochs {asha.grace_epochs}: trials are "
        f"judged while the backbone is still wholly frozen; write grace_epochs {warm_up + 1} or more"
    )


def _warm_up_without_thaw(case: _Case) -> _Finding | None:
    if "training.warm_up.epochs" not in case.searched or not _nothing_thaws(case):
        return None
    return 0, (
        "training.warm_up.epochs is searched, but model.freeze leaves nothing to train in the backbone: after the "
        "warm-up nothing is unfrozen, and its length changes nothing; write warm_up: {epochs: 0} or freeze less"
    )


def _nothing_thaws(case: _Case) -> bool:
    """Whether no unit of the backbone ever trains: an end of a range, which is hardly ever met, does not count."""
    freeze = case.config.model.freeze
    return freeze.last_units == 0 or (freeze.depth == 1 and "model.freeze.depth" not in case.ranged)


def _layer_decay_without_units(case: _Case) -> _Finding | None:
    if "training.optimizer.layer_decay" not in case.searched or not _nothing_thaws(case):
        return None
    return 0, (
        "training.optimizer.layer_decay is searched, but model.freeze may leave nothing to train in the backbone: the "
        "head alone has one rate, and the decay changes nothing; write layer_decay: 1.0 or freeze less"
    )


def _warm_up_never_ends_early(case: _Case) -> _Finding | None:
    warm_up = case.config.training.warm_up
    stop = warm_up.stop_patience_epochs
    if stop is None or not warm_up.epochs or stop < warm_up.epochs:
        return None
    return stop - warm_up.epochs, (
        f"training.warm_up.stop_patience_epochs {stop} is not below training.warm_up.epochs {warm_up.epochs}: the "
        f"warm-up never ends early; write more warm_up epochs, or stop_patience_epochs: {warm_up.epochs - 1} at most"
    )


def _values_of_no_warm_up(case: _Case) -> _Finding | None:
    searched = sorted(case.searched & {"training.warm_up.lr", "training.warm_up.stop_patience_epochs"})
    if case.config.training.warm_up.epochs or not searched:
        return None
    return 0, (
        f"{searched[0]} is searched, but training.warm_up.epochs may be 0: without a warm-up it changes nothing; "
        "write warm_up: {choice: [{epochs: 0}, {epochs: 5, lr: {range: [1e-4, 1e-2], log: true}}]}"
    )


def _values_of_no_training(case: _Case) -> _Finding | None:
    kind = case.config.model.head.kind
    trained = (name for name in case.searched if related_names(name, "training") or related_names(name, "augment"))
    dead = sorted(name for name in trained if name != "training.class_weights")
    if kind == "dense" or not dead:
        return None
    return len(dead), (
        f"{', '.join(dead)} {'is' if len(dead) == 1 else 'are'} searched, but model.head.kind may be {kind}, which is "
        "fitted without gradient descent or augmentation: trials that differ by these alone are the same; "
        "give the baseline a space of its own"
    )


def _asha_after_end(case: _Case) -> _Finding | None:
    asha, epochs = case.search.asha, case.config.training.epochs
    if asha is None or asha.grace_epochs < epochs:
        return None
    return asha.grace_epochs - epochs, (
        f"search.asha.grace_epochs {asha.grace_epochs} is not below training.epochs {epochs}: no such trial is ever "
        "stopped early; write fewer grace_epochs, or asha: null"
    )


def _stop_after_end(case: _Case) -> _Finding | None:
    stop, (epochs, name) = case.config.training.stop_patience_epochs, _epochs_of_training(case)
    if "training.stop_patience_epochs" not in case.searched or stop is None or stop < epochs:
        return None
    return stop - epochs, (
        f"training.stop_patience_epochs is searched, but {stop} is not below {name} {epochs}: training ends "
        f"before it can stop early; write {epochs - 1} at most, or null for no early stopping"
    )


def _batch_norm_without_hidden(case: _Case) -> _Finding | None:
    if "model.head.batch_norm" not in case.searched or case.config.model.head.hidden:
        return None
    return 0, (
        "model.head.batch_norm is searched, but model.head.hidden may be []: without hidden layers there is nothing to "
        "normalise; write head: {choice: [{hidden: []}, {hidden: [256], batch_norm: {choice: [false, true]}}]}"
    )


def _frozen_random_weights(case: _Case) -> _Finding | None:
    freeze = case.config.model.freeze
    if case.config.model.weights != "none":
        return None
    if case.config.model.head.kind != "dense":
        return 1, (
            f"model.weights may be none while model.head.kind is {case.config.model.head.kind}: it is fitted to the "
            "features of random weights; write weights: imagenet, or a file"
        )
    if not freeze.freezes:
        return None
    return 0, (
        "model.weights may be none while model.freeze freezes units: these keep their random weights for ever; "
        "write freeze: {depth: 0.0} with weights: none, each pair as an option of a choice for model"
    )


def _precision_on_cpus(case: _Case) -> _Finding | None:
    if "training.precision" not in case.searched or case.search.per_trial.gpus != 0:
        return None
    return 0, (
        "training.precision is searched, but search.per_trial.gpus is 0: on CPUs auto is float32, and half is another "
        "way to about the same scores; write precision: float32"
    )


def _views_never_seen(case: _Case) -> _Finding | None:
    views, epochs = case.config.training.views, case.config.training.epochs
    if views is None or views <= epochs or case.config.augment == "none":
        return None
    return views - epochs, (
        f"training.views {views} is more than training.epochs {epochs}: every epoch sees a new view, as with null; "
        f"write views: {epochs} at most, or null"
    )


def _views_without_augmentation(case: _Case) -> _Finding | None:
    views, searched = case.config.training.views, case.searched
    if views is None or case.config.augment != "none" or ("augment" in searched and "training.views" not in searched):
        return None
    return 0, (
        f"training.views is {views}, but augment {'may be' if 'augment' in searched else 'is'} none: without "
        "augmentation there is one view; write views: null, or a policy such as augment: light"
    )


def _batch_larger_than_train(case: _Case) -> _Finding | None:
    batch, images = case.config.training.batch_size, case.train_images
    if images is None or batch <= images:
        return None
    return batch, (
        f"training.batch_size {batch} is more than the {images} training images: an epoch is one step; "
        f"write {images} at most"
    )


_RULES: dict[str, Callable[[_Case], _Finding | None]] = {
    "plateau-after-stop": _plateau_after_stop,
    "plateau-after-grace": _plateau_after_grace,
    "plateau-after-end": _plateau_after_end,
    "plateau-floor-above-lr": _plateau_floor,
    "warm-up-after-grace": _warm_up_after_grace,
    "warm-up-without-thaw": _warm_up_without_thaw,
    "warm-up-never-ends-early": _warm_up_never_ends_early,
    "values-of-no-warm-up": _values_of_no_warm_up,
    "layer-decay-without-units": _layer_decay_without_units,
    "values-of-no-training": _values_of_no_training,
    "asha-after-end": _asha_after_end,
    "stop-after-end": _stop_after_end,
    "batch-norm-without-hidden": _batch_norm_without_hidden,
    "frozen-random-weights": _frozen_random_weights,
    "views-never-seen": _views_never_seen,
    "views-without-augmentation": _views_without_augmentation,
    "precision-on-cpus": _precision_on_cpus,
    "batch-larger-than-train": _batch_larger_than_train,
}


# --- doubts that need no config -------------------------------------------------------------------------------------


_WEIGHT = {"classification": "moves the accuracy by", "segmentation": "holds, of all pixels judged,"}


def _doubts_of_the_whole(space: Space, val_images: int | None) -> Iterator[LintWarning]:
    for parameter in space.parameters:
        yield from _doubts_of_a_range(space, parameter)
    if val_images is not None and 0 < val_images < FEWEST_VAL_IMAGES:
        yield LintWarning(
            "tiny-validation",
            f"of {val_images} validation images one {_WEIGHT[space.task]} {100 / val_images:.1f} %, "
            f"and smaller differences between trials mean nothing; hold back {FEWEST_VAL_IMAGES} or more",
        )
    search = space.search
    if space.parameters and search.sampler != "random" and search.trials <= search.random_trials:
        yield LintWarning(
            "sampler-never-learns",
            f"search.trials {search.trials} is not above search.random_trials {search.random_trials}: every trial is "
            "drawn at random; write more trials, fewer random_trials, or sampler: random",
        )


def _doubts_of_a_range(space: Space, parameter: Parameter) -> Iterator[LintWarning]:
    domain, name = parameter.domain, parameter.name
    if isinstance(domain, FloatRange) and name == "training.optimizer.lr" and not domain.log:
        if domain.high > DECADE * domain.low:
            yield LintWarning(
                "lr-linear",
                f"{name} is searched linearly from {domain.low:g} to {domain.high:g}: hardly any trial falls into the "
                f"lower decades; write {{range: [{domain.low:g}, {domain.high:g}], log: true}}",
            )
    elif isinstance(domain, IntRange) and _takes_fractions(space, parameter, domain):
        yield LintWarning(
            "whole-numbers-only",
            f"{name} takes fractions, but both ends of its range are whole, so that only whole numbers are tried; "
            f"write {{range: [{domain.low}.0, {domain.high}.0]}}",
        )


def _takes_fractions(space: Space, parameter: Parameter, domain: IntRange) -> bool:
    """Whether the config would take a number between two of an integer range; open names such as arguments may not."""
    if parameter.name.startswith("augment"):
        return False
    values = {**dict(parameter.conditions), parameter.key: domain.low + 0.5}
    try:
        TrialConfig.model_validate(draw_with(space.root, values).tree)
    except ValidationError:
        return False
    return True
