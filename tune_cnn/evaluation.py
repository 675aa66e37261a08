"""Use a saved model: score it on a split, or ask it about single images."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch

from tune_cnn.config import TrialConfig
from tune_cnn.data.dataset import open_data
from tune_cnn.data.decode import Pixels, UndecodableError, decode_image, fit_image
from tune_cnn.errors import DataError
from tune_cnn.models.saved import load_model, read_whole
from tune_cnn.models.weights import resolve_weights
from tune_cnn.models.zero_shot import open_zero_shot, probabilities
from tune_cnn.results.scores import Counts
from tune_cnn.sections.image import ImageConfig
from tune_cnn.training.batches import Batches, best_device
from tune_cnn.training.loop import evaluate
from tune_cnn.training.objective import classification_objective
from tune_cnn.yaml_files import load_model as load_config


@dataclass(frozen=True)
class Evaluation:
    """How a model did on one split."""

    split: str
    images: int
    scores: Mapping[str, float]
    """loss, accuracy, balanced_accuracy, macro_f1."""
    confusion: Counts
    """(C, C) counts, rows true, columns predicted."""
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Prediction:
    """What a model says of one image: classes with probabilities, likeliest first; or why it could not say."""

    path: Path
    ranking: tuple[tuple[str, float], ...]
    error: str = ""


def evaluate_model(folder: Path, *, data_root: Path | None, splits: Sequence[str], cache_dir: Path) -> list[Evaluation]:
    """Score a saved model on splits of the data it was made with, or of the same layout elsewhere.

    Args:
        folder: a model folder.
        data_root: where the data are now; None where the model's config says.
        splits: val, test or train; one the data lack is left out.
        cache_dir: where decoded images are kept.

    Raises:
        DataError: the data cannot be used, or have other classes than the model.
    """
    (model, card), config = read_whole(
        folder, lambda whole: (load_model(whole), load_config(whole / "config.yaml", TrialConfig))
    )
    section = config.data if data_root is None else config.data.model_copy(update={"root": str(data_root)})
    data = open_data(section, card.image, cache_dir=cache_dir)
    if data.classes != card.classes:
        raise DataError(
            f"{section.root}: has the classes {_names(data.classes)}, but the model was made for {_names(card.classes)}"
        )
    device = best_device()
    model.to(device)
    objective = classification_objective(config.training, [1] * len(card.classes))
    # The batches of the training: with others, the last digits of a sum would differ from the table's.
    size = config.training.batch_size
    found = []
    for name in (split for split in splits if split in data.splits):
        images, labels = data.splits[name].images, data.splits[name].labels
        batches = Batches.of(images, labels, batch_size=size, preprocessing=(card.mean, card.std), device=device)
        counter = evaluate(model, batches, objective)
        found.append(Evaluation(name, len(labels), counter.scores(), counter.confusion(), card.classes))
    return found


def predict(folder: Path, images: Iterable[Path]) -> Iterator[Prediction]:
    """Ask a saved model about image files, one after the other; a file that cannot be read gets its reason."""
    model, card = load_model(folder)
    device = best_device()
    model.to(device)

    def answer(pixels: Pixels) -> list[float]:
        one = fit_image(pixels, card.image.px, card.image.fit)[None]
        preprocessing = (card.mean, card.std)
        batches = Batches.of(one, np.zeros(1, np.int64), batch_size=1, preprocessing=preprocessing, device=device)
        batch, _ = next(batches.in_order())
        with torch.inference_mode():
            shares: list[float] = torch.softmax(model(batch)[0].double(), dim=0).tolist()
        return shares

    yield from _predictions(images, answer, card.classes, card.image.max_megapixels)


def predict_zero_shot(
    backbone: str, images: Iterable[Path], *, weights_dir: Path | None, cache_dir: Path
) -> Iterator[Prediction]:
    """Ask an untouched ImageNet network about image files, as `predict` asks a saved model.

    Raises:
        SpaceFileError: no such backbone.
        WeightsError: its weights cannot be had, or hold no classifier.
    """
    found = resolve_weights(backbone, "imagenet", weights_dir=weights_dir, cache_dir=cache_dir)
    zero_shot = open_zero_shot(backbone, cast("Path", found.file))  # `none` alone has no file
    zero_shot.network.to(best_device())
    limit = ImageConfig().max_megapixels
    yield from _predictions(images, partial(probabilities, zero_shot), zero_shot.classes, limit)


def _predictions(
    images: Iterable[Path], answer: Callable[[Pixels], list[float]], classes: Sequence[str], max_megapixels: float
) -> Iterator[Prediction]:
    for path in images:
        try:
            shares = answer(decode_image(path.read_bytes(), max_megapixels=max_megapixels))
        except OSError as error:
            yield Prediction(path, (), error=f"cannot be read: {error.strerror}")
        except UndecodableError as error:
            yield Prediction(path, (), error=str(error))
        else:
            yield Prediction(path, tuple(sorted(zip(classes, shares, strict=True), key=lambda pair: -pair[1])))


def _names(classes: Sequence[str]) -> str:
    return f"{len(classes)} ({', '.join(classes[:5])}{', …' if len(classes) > 5 else ''})"
