"""A quick baseline without gradient descent: scikit-learn's linear models on the features of a frozen backbone.

The only door to scikit-learn. What it fits is written into the model's last layer, so that everything after the
training (best/, evaluate, predict) takes it for any other model.
"""

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tune_cnn import progress
from tune_cnn.models.classifier import Classifier
from tune_cnn.models.network import Inputs, images_in, single
from tune_cnn.results.records import EpochRecord
from tune_cnn.sections.model import HeadConfig
from tune_cnn.training.batches import Batches
from tune_cnn.training.checkpoint import Checkpoint, frozen_digest, moving_state, restore_model
from tune_cnn.training.feed import FeatureUse, Feeds
from tune_cnn.training.loop import Epoch, evaluate
from tune_cnn.training.micro_batches import MicroBatches, split
from tune_cnn.training.objective import Objective

log = logging.getLogger(__name__)
Array = NDArray[np.float64]
FIT = "fit"
"""The one phase of such a training."""
_MOST_ITERATIONS = 5000
_LEAST_SCALE = 0.1
"""Of the median of all features' deviations."""


def _nobody_watches(_training: "LinearBaseline") -> None:
    """Take in that the fit begins and do nothing."""


@dataclass
class LinearBaseline:
    """A linear model fitted once, in the shape of a training of one epoch. No augmentation, no learning rate."""

    model: Classifier
    """Wholly frozen; its head is one dense layer."""
    train: Batches
    val: Batches
    objective: Objective
    head: HeadConfig
    balanced: bool
    """Whether classes weigh the same, however many images they have."""
    score_of: Callable[[Mapping[str, float]], float]
    cached: FeatureUse | None = None
    """Where to cache what the backbone gives."""
    on_phase: Callable[["LinearBaseline"], None] = _nobody_watches
    """Told before the fit; of a resumed one too."""
    history: list[EpochRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.feeds = Feeds.of(self.model, self.val, self.cached)
        self._estimator = linear_model(self.head, balanced=self.balanced)
        self.on_phase(self)

    def epochs(self) -> Iterator[Epoch]:
        """Fit and yield the one epoch; nothing if `resume` brought it."""
        if not self.history:
            yield self._fit()

    def checkpoint(self) -> Checkpoint:
        """Give the whole state."""
        history = [record.as_json() for record in self.history]
        return Checkpoint(
            epoch=len(history),
            model=moving_state(self.model),
            frozen_units=self.model.frozen_units,
            frozen_sha256=frozen_digest(self.model, self.model.frozen_units),
            optimizer={"state": {}, "param_groups": []},
            schedule={},
            stopping={},
            phase={"name": FIT, "first_epoch": 1},
            history=history,
            step={},
        )

    def resume(self, checkpoint: Checkpoint) -> None:
        """Take the fitted model of `checkpoint`."""
        restore_model(checkpoint, self.model)
        self.history = [EpochRecord.from_json(record) for record in checkpoint.history]

    def live(self) -> dict[str, Any]:
        """Read back, by the config's dotted names, what is going to be fitted."""
        kind = {"LinearSVC": "svm", "LogisticRegression": "logistic"}[type(self._estimator).__name__]
        live = {
            "model.head.kind": kind,
            "training.class_weights": self._estimator.class_weight or "none",
            "training.batch_size": self.train.batch_size,
        }
        return live if self.head.c is None else live | {"model.head.c": float(self._estimator.C)}

    def _fit(self) -> Epoch:
        started = time.perf_counter()
        features, labels = self._features()
        weight, bias = folded(self._estimator, features, labels, classes=self.objective.classes)
        layer = next(layer for layer in self.model.head.modules() if isinstance(layer, nn.Linear))
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight))
            layer.bias.copy_(torch.from_numpy(bias))
        fed = self.feeds.val.of(self.val)
        began = time.perf_counter()
        val = evaluate(fed.network, fed.batches, self.objective)
        scores = {f"val_{name}": value for name, value in val.scores().items()}
        per_image = (time.perf_counter() - began) / len(self.val.labels) + fed.spared_seconds
        scores |= {f"train_{name}": value for name, value in self._train_scores(features, labels).items()}
        record = EpochRecord(
            epoch=1,
            phase=FIT,
            seconds=round(time.perf_counter() - started, 4),
            lr=0.0,
            frozen_units=self.model.frozen_units,
            score=self.score_of(scores),
            scores=scores,
            ms_per_image=round(1000 * per_image, 4),
        )
        self.history.append(record)
        return Epoch(record, val.confusion(), is_best=True)

    @torch.inference_mode()
    def _features(self) -> tuple[Array, NDArray[np.int64]]:
        """Give the training images' features, (N, F), and class ids, (N,)."""
        fed = self.feeds.train.of(self.train)
        network = fed.network.eval()
        micro = MicroBatches(purpose="what the fit learns from")

        def of(inputs: Inputs) -> Tensor:
            pieces = micro.fit(
                images_in(inputs),
                lambda parts: [single(network.features(single(piece))).cpu() for piece in split(inputs, parts)],
            )
            return torch.cat(pieces)

        pairs = [(of(inputs), labels.cpu()) for inputs, labels in fed.batches.in_order()]
        features, labels = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        return features.double().numpy(), labels.numpy()

    @torch.inference_mode()
    def _train_scores(self, features: Array, labels: NDArray[np.int64]) -> dict[str, float]:
        counter, device = self.objective.counter(self.train.device), self.train.device
        target = torch.from_numpy(labels).to(device)
        logits: Tensor = self.model.head(torch.from_numpy(features).float().to(device))
        counter.add(logits.argmax(dim=1), target, self.objective.val_loss(logits, target))
        return counter.scores()


def linear_model(head: HeadConfig, *, balanced: bool) -> Any:
    """Make the unfitted linear model that a head asks for."""
    from sklearn.linear_model import LogisticRegression  # a second to import: only trials that fit one pay for it
    from sklearn.svm import LinearSVC

    c, weight = 1.0 if head.c is None else head.c, "balanced" if balanced else None
    if head.kind == "svm":
        return LinearSVC(C=c, class_weight=weight, max_iter=_MOST_ITERATIONS, random_state=0)
    return LogisticRegression(C=c, class_weight=weight, max_iter=_MOST_ITERATIONS)


def folded(estimator: Any, features: Array, labels: NDArray[np.int64], *, classes: int) -> tuple[Array, Array]:
    """Fit on standardised features, and fold the standardisation into the weights.

    Args:
        estimator: of `linear_model`.
        features: (N, F).
        labels: (N,) class ids, every class at least once.
        classes: how many there are.

    Returns:
        Weights (classes, F) and biases (classes,) of a linear layer on the features as they are. For two classes, of
        which scikit-learn separates one from the other, half the distance goes to each.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(features)
    # A feature that hardly moves in training would be blown up to the size of the others, and with it whatever it does
    # on other images.
    scaler.scale_ = np.maximum(scaler.scale_, _LEAST_SCALE * np.median(scaler.scale_))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ConvergenceWarning)
        with progress.unmeasured():
            estimator.fit(scaler.transform(features), labels)
    for warning in told:
        log.warning("%s; the fit is used as it is", warning.message)
    weight = estimator.coef_ / scaler.scale_
    bias = estimator.intercept_ - weight @ scaler.mean_
    if classes == 2:
        return np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return weight, bias
