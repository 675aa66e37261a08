"""From a config and its images to a run that is ready to train: networks, batches, objective, phases."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from tune_cnn.config import TrialConfig
from tune_cnn.data.augment import build_policy
from tune_cnn.data.augmented import Augmentation, AugmentedViews
from tune_cnn.data.cache import Cache
from tune_cnn.data.dataset import ImageData, SplitImages
from tune_cnn.data.folds import fold_data
from tune_cnn.models.build import build_network
from tune_cnn.models.classifier import Classifier
from tune_cnn.models.network import Network
from tune_cnn.results.records import TrialFacts
from tune_cnn.sections.search import Metric
from tune_cnn.training.baseline import LinearBaseline
from tune_cnn.training.batches import Batches, TrainBatches, best_device
from tune_cnn.training.feed import FeatureUse
from tune_cnn.training.folds import AnyTraining, Run
from tune_cnn.training.loop import Training
from tune_cnn.training.objective import objective_for
from tune_cnn.training.precision import Precision, precision_for

OnPhase = Callable[[AnyTraining], None]


def build_run(
    config: TrialConfig,
    data: ImageData,
    metric: Metric,
    *,
    cache: Cache,
    on_phase: OnPhase,
    cache_features: bool = True,
) -> tuple[Run, TrialFacts]:
    """Build the one training of a config, or one per fold: alike but for their images.

    Args:
        config: what to train.
        data: its images.
        metric: what the best epoch is chosen by.
        cache: keeps what the trials of this machine share.
        on_phase: told when a phase of the first training begins.
        cache_features: whether what frozen units give is kept too; if not, each epoch computes it.

    Returns:
        The run, and what its (first) network costs and how much of it stands still once the warm-up is over.

    Raises:
        WeightsError: the weights do not fit the backbone.
        DataError: the images cannot be dealt into folds.
    """
    parts = fold_data(data, config.folds, seed=config.data.splits.seed) if config.folds else (data,)
    augmentation = _augmentation(config, data, cache)
    networks = [_network(config, len(data.classes)) for _ in parts]
    precision = precision_for(config, networks[0], cache, best_device())
    facts = _facts(networks[0], precision)
    features = FeatureUse(cache, config.model.backbone_name, config.image.px) if cache_features else None
    setup = _Setup(config, augmentation, metric, precision, features)
    trainings = [
        _training(setup, network, part, on_phase if number == 0 else _nobody_watches)
        for number, (network, part) in enumerate(zip(networks, parts, strict=True))
    ]
    return Run(trainings, stop_patience_epochs=config.training.stop_patience_epochs), facts


def _augmentation(config: TrialConfig, data: ImageData, cache: Cache) -> Augmentation:
    images = data.splits["train"]
    if config.folds:  # of which each but one trains on an image: so its views are drawn once for all
        images = images.joined(data.splits["val"])
    augmenter = build_policy(config.augment, config.image.px, masks=data.has_masks)
    room = None if data.note else cache  # a view is as large as the images, for which there is none
    return Augmentation(images, augmenter, seed=config.seed, views=config.training.views, cache=room)


def score_of(metric: Metric) -> Callable[[Mapping[str, float]], float]:
    """Give the function from an epoch's scores to what is ranked: higher is better, a leading `-` turns round."""
    sign, name = (-1.0, metric[1:]) if metric.startswith("-") else (1.0, metric)
    return lambda scores: sign * float(scores[name])


def _nobody_watches(_training: AnyTraining) -> None:
    """Take in that a phase begins and do nothing."""


def _network(config: TrialConfig, classes: int) -> Network:
    torch.manual_seed(config.seed)  # each fold's head begins with the same weights
    return build_network(config.model, classes, px=config.image.px, keep=True).to(best_device())


def _facts(model: Network, precision: Precision) -> TrialFacts:
    total, trainable = model.parameter_counts()
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    return TrialFacts(
        parameters=total,
        trainable_parameters=trainable,
        model_mb=round(size / 2**20, 3),
        frozen_units=model.frozen_units,
        units=len(model.units),
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        precision=str(precision),
    )


@dataclass(frozen=True)
class _Setup:
    """What all folds share."""

    config: TrialConfig
    augmentation: Augmentation
    metric: Metric
    precision: Precision
    features: FeatureUse | None


def _training(setup: _Setup, model: Network, data: ImageData, on_phase: OnPhase) -> AnyTraining:
    config, score = setup.config, score_of(setup.metric)
    per_class = data.splits["train"].per_class(len(data.classes)).tolist()
    objective = objective_for(config.task, config.training, per_class)
    train, val = (_batches(data.splits[name], model, config.training.batch_size) for name in ("train", "val"))
    if config.model.head.kind != "dense":
        assert isinstance(model, Classifier)  # noqa: S101 - the config allows no decoder with such a head
        balanced = config.training.class_weights == "balanced"
        return LinearBaseline(
            model, train, val, objective, config.model.head, balanced, score, setup.features, on_phase
        )
    return Training(
        model=model,
        frozen_units=model.frozen_units,
        train=TrainBatches(train, AugmentedViews(data.splits["train"], setup.augmentation)),
        val=val,
        objective=objective,
        config=config.training,
        seed=config.seed,
        score_of=score,
        stops_itself=config.folds is None,
        precision=setup.precision,
        features=setup.features,
        on_phase=on_phase,
    )


def _batches(split: SplitImages, model: Network, batch_size: int) -> Batches:
    return Batches.of(
        split.images,
        split.targets,
        batch_size=batch_size,
        preprocessing=model.preprocessing,
        device=best_device(),
        key=split.images.key,
    )
