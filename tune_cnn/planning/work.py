"""What of a configuration decides what it costs, and configurations drawn at random to estimate a search by."""

import hashlib
import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from tune_cnn.config import TrialConfig
from tune_cnn.config_shape import Scalar
from tune_cnn.errors import SpaceFileError
from tune_cnn.models.trunk import frozen_units_of, trunk_of
from tune_cnn.sections.image import Policy
from tune_cnn.sections.layers import CustomBackbone
from tune_cnn.sections.model import ModelConfig
from tune_cnn.sections.training import TrainingConfig
from tune_cnn.space.domains import Choice, FloatRange, IntRange, Parameter
from tune_cnn.space.schema import Space


class ModelKey(NamedTuple):
    """A network as far as its time goes: its backbone with what is on top, and the size of its images."""

    label: str
    """For people too: `resnet50`, `vgg16, 3 stages`, `custom 6a09e667`, `resnet50 + unet`."""
    px: int


@dataclass(frozen=True)
class Work:
    """What of a configuration decides what it costs."""

    model: ModelKey
    units: int
    frozen_units: int
    policy: str
    """The name of the augmentation."""
    training: TrainingConfig
    folds: int
    """How many trainings an epoch consists of: 1 without folds."""
    fitted: bool
    """Whether it is fitted at once, in one epoch, without gradients."""


def work_of(config: TrialConfig) -> Work:
    """Say what decides the cost of a configuration.

    Raises:
        SpaceFileError: no such backbone.
        ValueError: a freeze depth beyond it.
    """
    return Work(
        model=ModelKey(model_label(config.model), config.image.px),
        units=len(trunk_of(config.model).line),
        frozen_units=frozen_units_of(config.model),
        policy=policy_label(config.augment),
        training=config.training,
        folds=config.folds or 1,
        fitted=config.model.head.kind != "dense",
    )


def model_label(model: ModelConfig) -> str:
    """Name a network by all that decides its time, but for pooled heads, which cost next to nothing."""
    parts = [model.backbone_name]
    if isinstance(model.backbone, CustomBackbone):
        parts = [f"custom {_digest(model.backbone.model_dump(mode='json'))}"]
    if model.stages is not None:
        parts.append(f"{model.stages} stages")
    if model.head.takes_map:
        parts.append(f"head {_digest(model.head.model_dump(mode='json', exclude={'dropout', 'c'}))}")
    name = ", ".join(parts)
    return f"{name} + {model.decoder}" if model.decoder else name


def policy_label(policy: Policy) -> str:
    """Name an augmentation: as the space does, a list of transforms by what it holds."""
    if isinstance(policy, str):
        return policy
    return f"list {_digest([transform.model_dump(mode='json') for transform in policy])}" if policy else "none"


def draws(space: Space, rng: random.Random, *, cpu_threads: int = 1) -> Iterator[TrialConfig]:
    """Draw configurations from a space at random, without end, the plain defaults first.

    Mixtures that do not go together are drawn anew; a space that offers nothing else ends the draws.
    """
    yield _config(space, space.tree_of(space.defaults()).tree, cpu_threads)
    failures = 0
    while failures < 100:
        drawn = space.draw(lambda parameter: random_value(parameter, rng))
        try:
            config = _config(space, drawn.tree, cpu_threads)
        except SpaceFileError:
            failures += 1
            continue
        failures = 0
        yield config


def random_value(parameter: Parameter, rng: random.Random) -> Scalar:
    """Draw a value of a parameter: every option as likely, ranges evenly, or evenly in the logarithm."""
    match parameter.domain:
        case Choice(labels):
            return rng.choice(labels)
        case IntRange() as whole:
            return whole.nearest(_between(rng, whole.low - whole.step / 2, whole.high + whole.step / 2, log=whole.log))
        case FloatRange() as real:
            return real.nearest(_between(rng, real.low, real.high, log=real.log))


def _between(rng: random.Random, low: float, high: float, *, log: bool) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high))) if log and low > 0 else rng.uniform(low, high)


def _config(space: Space, tree: Any, cpu_threads: int) -> TrialConfig:
    return space.config(tree, seed=space.search.seed, cpu_threads=cpu_threads, weights_file=None)


def _digest(plain: Any) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:8]
