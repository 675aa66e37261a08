"""Use a saved model: score it on a split, or ask it about single images."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch

from tune_cnn.config import Task, TrialConfig
from tune_cnn.data.cache import Cache
from tune_cnn.data.dataset import ImageData
from tune_cnn.data.decode import Pixels, UndecodableError, decode_image, fit_image, unfit_mask
from tune_cnn.data.folds import fold_data
from tune_cnn.data.masks import Mask
from tune_cnn.data.resident import open_resident
from tune_cnn.errors import DataError
from tune_cnn.models.card import ModelCard, load_model_config, read_whole
from tune_cnn.models.network import Network
from tune_cnn.models.saved import load_model
from tune_cnn.models.weights import resolve_weights
from tune_cnn.models.zero_shot import open_zero_shot, probabilities
from tune_cnn.results.scores import Counts
from tune_cnn.sections.image import ImageConfig
from tune_cnn.training.batches import Batches, best_device
from tune_cnn.training.loop import evaluate
from tune_cnn.training.objective import objective_for


@dataclass(frozen=True)
class Evaluation:
    """How a model did on one split."""

    split: str
    images: int
    scores: Mapping[str, float]
    """loss, and the scores of the task: accuracy, balanced_accuracy, macro_f1, or miou, dice, pixel_accuracy."""
    confusion: Counts
    """(C, C) counts, rows true, columns predicted."""
    classes: tuple[str, ...]
    task: Task


@dataclass(frozen=True)
class Prediction:
    """What a model says of one image; or why it could not say."""

    path: Path
    ranking: tuple[tuple[str, float], ...]
    """Classes with their probabilities (with a mask: their shares of its area), highest first."""
    classes: tuple[str, ...] = ()
    mask: Mask | None = None
    """Class ids as the image stands upright, `IGNORED_ID` where the model did not look; None for classification."""
    mask_file: Path | None = None
    """Where the mask was written to."""
    error: str = ""


def evaluate_model(
    folder: Path, *, data_root: str | Path | None, splits: Sequence[str], cache: Cache
) -> list[Evaluation]:
    """Score a saved model on splits of the data it was made with, or of the same layout elsewhere.

    Args:
        folder: a model folder.
        data_root: where the data are now; None where the model's config says.
        splits: val, test or train; one the data lack is left out.
        cache: where decoded images are kept.

    Raises:
        DataError: the data cannot be used, or have other classes than the model.
    """
    model, card, config = load_trained(folder)
    data = open_scored_data(config, card, data_root=data_root, cache=cache)
    device = best_device()
    model.to(device)
    objective = objective_for(card.task, config.training, [1] * len(card.classes))
    # The batches of the training: with others, the last digits of a sum would differ from the table's.
    size = config.training.batch_size
    found = []
    for name in (split for split in splits if split in data.splits):
        images, targets = data.splits[name].images, data.splits[name].targets
        batches = Batches.of(images, targets, batch_size=size, preprocessing=(card.mean, card.std), device=device)
        counter = evaluate(model, batches, objective)
        scores, confusion = counter.scores(), counter.confusion()
        found.append(Evaluation(name, len(targets), scores, confusion, card.classes, card.task))
    return found


def load_trained(folder: Path) -> tuple[Network, ModelCard, TrialConfig]:
    """Read a model and the config it was trained by, both of one model even if the folder is a link that moves.

    Raises:
        RunFolderError: the folder is not one that `save_model` wrote, or it is damaged.
    """
    return read_whole(folder, _load_trained)


def _load_trained(whole: Path) -> tuple[Network, ModelCard, TrialConfig]:
    model, card = load_model(whole)
    return model, card, load_model_config(whole, card)


def open_scored_data(config: TrialConfig, card: ModelCard, *, data_root: str | Path | None, cache: Cache) -> ImageData:
    """Open the data that a saved model was made with, or those of the same layout below `data_root`.

    Raises:
        DataError: the data cannot be used, or have other classes than the model.
    """
    section = config.data if data_root is None else config.data.model_copy(update={"root": str(data_root)})
    data = open_resident(section, card.image, cache=cache)
    if config.folds:  # the model is the first fold's
        data = fold_data(data, config.folds, seed=section.splits.seed)[0]
    if data.classes != card.classes:
        raise DataError(
            f"{section.root}: has the classes {_names(data.classes)}, but the model was made for {_names(card.classes)}"
        )
    return data


def predict(folder: Path, images: Iterable[Path]) -> Iterator[Prediction]:
    """Ask a saved model about image files, one after the other; a file that cannot be read gets its reason."""
    model, card = load_model(folder)
    device = best_device()
    model.to(device)

    def answer(path: Path, pixels: Pixels) -> Prediction:
        one, nothing = fit_image(pixels, card.image.px, card.image.fit)[None], np.zeros(1, np.int64)
        batches = Batches.of(one, nothing, batch_size=1, preprocessing=(card.mean, card.std), device=device)
        batch, _ = next(batches.in_order())
        with torch.inference_mode():
            logits = model(batch)[0]
        return _prediction(path, logits, card, (pixels.shape[0], pixels.shape[1]))

    yield from _predictions(images, answer, card.image.max_megapixels)


def predict_zero_shot(
    backbone: str, images: Iterable[Path], *, weights_dir: Path | None, cache: Cache
) -> Iterator[Prediction]:
    """Ask an untouched ImageNet network about image files, as `predict` asks a saved model.

    Raises:
        SpaceFileError: no such backbone.
        WeightsError: its weights cannot be had, or hold no classifier.
    """
    found = resolve_weights(backbone, "imagenet", weights_dir=weights_dir, cache_dir=cache.folder)
    zero_shot = open_zero_shot(backbone, cast("Path", found.file))  # `none` alone has no file
    zero_shot.network.to(best_device())

    def answer(path: Path, pixels: Pixels) -> Prediction:
        return Prediction(path, _ranked(zero_shot.classes, probabilities(zero_shot, pixels)), zero_shot.classes)

    yield from _predictions(images, answer, ImageConfig().max_megapixels)


def _predictions(
    images: Iterable[Path], answer: Callable[[Path, Pixels], Prediction], max_megapixels: float
) -> Iterator[Prediction]:
    for path in images:
        try:
            prediction = answer(path, decode_image(path.read_bytes(), max_megapixels=max_megapixels))
        except OSError as error:
            yield Prediction(path, (), error=f"cannot be read: {error.strerror}")
        except UndecodableError as error:
            yield Prediction(path, (), error=str(error))
        else:
            yield prediction


def _prediction(path: Path, logits: torch.Tensor, card: ModelCard, size: tuple[int, int]) -> Prediction:
    """Read what a model says of one image of `size` (height, width): (C,) logits, or (C, px, px)."""
    if logits.ndim == 1:
        shares = torch.softmax(logits.double(), dim=0).tolist()
        return Prediction(path, _ranked(card.classes, shares), card.classes)
    mask = unfit_mask(logits.argmax(dim=0).to("cpu", torch.uint8).numpy(), size, card.image.fit)
    areas = np.bincount(mask.ravel(), minlength=256)[: len(card.classes)]
    return Prediction(path, _ranked(card.classes, (areas / areas.sum()).tolist()), card.classes, mask)


def _ranked(classes: Sequence[str], shares: Sequence[float]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(zip(classes, shares, strict=True), key=lambda pair: -pair[1]))


def _names(classes: Sequence[str]) -> str:
    return f"{len(classes)} ({', '.join(classes[:5])}{', …' if len(classes) > 5 else ''})"
