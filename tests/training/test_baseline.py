"""scikit-learn's linear models as last layers: the torch layer answers as the fitted pipeline does."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from torch import nn

from tests.conftest import trial_config
from tests.training.networks import NO_CHANGE, refuse_more_than
from tune_cnn.config import TrialConfig
from tune_cnn.data.cache import Cache
from tune_cnn.evaluation import evaluate_model, predict
from tune_cnn.models.classifier import Classifier
from tune_cnn.models.freeze import UnitLine
from tune_cnn.results.effective import compare_effective
from tune_cnn.results.records import EpochRecord, TrialFolder
from tune_cnn.sections.model import HeadConfig
from tune_cnn.sections.training import TrainingConfig
from tune_cnn.training.baseline import LinearBaseline, folded, linear_model
from tune_cnn.training.batches import Batches
from tune_cnn.training.objective import objective_for
from tune_cnn.trial import run_trial


def blobs(classes: int, count: int = 60) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Overlapping clouds whose features differ thirtyfold in scale; the last feature is constant."""
    draws = np.random.default_rng(0)
    labels = np.arange(count) % classes
    centres = draws.normal(size=(classes, 5))
    features = (centres[labels] + draws.normal(size=(count, 5))) * [1, 10, 0.3, 1, 1] + [0, 100, 0, 0, 3]
    features[:, 4] = 7.0
    return features, labels


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(
    ("kind", "estimator"),
    [
        pytest.param("svm", LinearSVC(C=0.3, max_iter=5000, random_state=0), id="svm"),
        pytest.param("logistic", LogisticRegression(C=0.3, max_iter=5000), id="logistic"),
    ],
)
def test_the_layer_answers_as_the_standardised_pipeline(kind: Any, estimator: Any, classes: int) -> None:
    features, labels = blobs(classes)
    pipeline = make_pipeline(StandardScaler(), estimator).fit(features, labels)
    weight, bias = folded(linear_model(HeadConfig(kind=kind, c=0.3), balanced=False), features, labels, classes=classes)
    logits = features @ weight.T + bias
    assert logits.shape == (60, classes)
    assert np.array_equal(logits.argmax(axis=1), pipeline.predict(features))
    decided = logits if classes > 2 else logits[:, 1] - logits[:, 0]
    assert np.allclose(decided, pipeline.decision_function(features))
    if kind == "logistic":
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        assert np.allclose(shares, pipeline.predict_proba(features))


@pytest.mark.parametrize("kind", ["svm", "logistic"])
def test_a_feature_that_hardly_moves_in_training_decides_nothing_elsewhere(kind: Any) -> None:
    features, labels = blobs(3)
    features[:, 4] = 1e-6 * (labels == 1)  # dead but for a breath, which tells one class
    weight, _ = folded(linear_model(HeadConfig(kind=kind, c=1.0), balanced=False), features, labels, classes=3)
    assert np.abs(weight[:, 4]).max() < 10 * np.abs(weight[:, :4]).max()


def test_a_stronger_regularisation_makes_smaller_weights() -> None:
    features, labels = blobs(3)
    sizes = [
        np.abs(folded(linear_model(HeadConfig(kind="logistic", c=c), balanced=False), features, labels, classes=3)[0])
        for c in (0.001, 1.0)
    ]
    assert sizes[0].sum() < sizes[1].sum()


def test_a_fit_that_does_not_converge_is_used_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    features, labels = blobs(3)
    estimator = LogisticRegression(max_iter=1)
    with caplog.at_level(logging.WARNING, "tune_cnn"):
        folded(estimator, features, labels, classes=3)
    assert "the fit is used as it is" in caplog.text


def with_head(root: Path, head: dict[str, Any], **training: Any) -> TrialConfig:
    model = {"backbone": "resnet18", "weights": "none", "head": head}
    return trial_config(root, model=model, training={"batch_size": 8, **training})


def run(config: TrialConfig, folder: Path, cache: Cache) -> list[EpochRecord]:
    return run_trial(config, TrialFolder(folder), metric="val_accuracy", cache=cache)


@pytest.mark.parametrize("kind", ["svm", "logistic"])
def test_a_baseline_is_a_trial_of_one_epoch_like_any_other(
    kind: str, shapes: Path, cache: Cache, tmp_path: Path
) -> None:
    config = with_head(shapes, {"kind": kind, "c": 0.1}, class_weights="balanced")
    (record,) = run(config, tmp_path, cache)
    assert (record.epoch, record.frozen_units) == (1, 13)
    assert record.scores["train_accuracy"] > 0.5 > 1 / 5, "the random features of thirty images tell most apart"
    assert compare_effective(config, TrialFolder(tmp_path).effective) == []
    other = with_head(shapes, {"kind": kind, "c": 0.2}, class_weights="balanced")
    assert compare_effective(other, TrialFolder(tmp_path).effective) == [
        "model.head.c is 0.2 in the config, but the live objects hold 0.1"
    ]
    val, test = evaluate_model(tmp_path / "best", data_root=None, splits=["val", "test"], cache=cache)
    assert {f"val_{name}": value for name, value in val.scores.items()}.items() <= record.scores.items()
    images = sorted((shapes / "test").rglob("*.jpg"))
    right = sum(one.ranking[0][0] == one.path.parent.name for one in predict(tmp_path / "best", images))
    assert right == np.trace(test.confusion)


def test_a_killed_baseline_is_not_fitted_again(shapes: Path, cache: Cache, tmp_path: Path) -> None:
    config = with_head(shapes, {"kind": "logistic"})
    first = run(config, tmp_path, cache)
    assert run(config, tmp_path, cache) == first  # the seconds too: nothing ran


def test_images_that_memory_does_not_hold_together_go_through_the_backbone_in_parts() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)
    batches = Batches.of(pixels, np.arange(20) % 3, batch_size=8, preprocessing=NO_CHANGE, device=torch.device("cpu"))

    def fitted(holds: int) -> torch.Tensor:
        torch.manual_seed(0)
        trunk = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        model = Classifier(trunk, nn.Sequential(nn.Linear(6, 3)), UnitLine((1, 1, 1), (1, 1, 1)), NO_CHANGE)
        model.freeze_to(3)
        model.unit_modules()[0].register_forward_pre_hook(refuse_more_than(holds))
        objective = objective_for("classification", TrainingConfig(), [7, 7, 6])
        head, scored = HeadConfig(kind="logistic"), lambda scores: scores["val_accuracy"]
        list(LinearBaseline(model, batches, batches, objective, head, balanced=False, score_of=scored).epochs())
        return model.head.get_parameter("0.weight")

    assert torch.allclose(fitted(3), fitted(8), atol=1e-5)
