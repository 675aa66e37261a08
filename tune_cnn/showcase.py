"""Pictures of the best, the median and the worst image of a split, as a saved segmentation model sees them."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tune_cnn.data.cache import Cache
from tune_cnn.data.dataset import SplitImages
from tune_cnn.data.masks import Mask
from tune_cnn.data.table import Split
from tune_cnn.evaluation import load_trained, open_scored_data
from tune_cnn.files import new_folder
from tune_cnn.models.card import ModelCard
from tune_cnn.models.network import Network
from tune_cnn.results.pictures import comparison
from tune_cnn.results.scores import Counts, segmentation_scores
from tune_cnn.sections.data import IGNORED_ID
from tune_cnn.training.batches import Batches, best_device


@dataclass(frozen=True)
class _Seen:
    """One image of a split, what was predicted, and how good that is."""

    place: int
    miou: float
    predicted: Mask


def write_pictures(
    model_folder: Path, out: Path, *, split: Split, cache: Cache, data_root: str | Path | None = None
) -> list[Path]:
    """Draw the best, the median and the worst image of a split, by the mean IoU of its classes, into a new folder.

    Args:
        model_folder: of a segmentation model; another model, or a split that the data lack, gives no pictures.
        out: replaced if it is there; its files are named `best_iou_0.912_NAME.png` and so on.
        split: train, val or test.
        cache: where decoded images are kept.
        data_root: where the data are now; None where the model's config says.

    Returns:
        The files, best first.

    Raises:
        DataError: the data cannot be used, or have other classes than the model.
    """
    model, card, config = load_trained(model_folder)
    if card.task != "segmentation":
        return []
    data = open_scored_data(config, card, data_root=data_root, cache=cache)
    if split not in data.splits:
        return []
    images = data.splits[split]
    seen = sorted(_look(model, images, card), key=lambda one: (-one.miou, one.place))
    seen = [one for one in seen if not np.isnan(one.miou)]
    chosen = {"best": seen[:1], "median": seen[len(seen) // 2 :][:1], "worst": seen[-1:]}
    shutil.rmtree(out, ignore_errors=True)
    with new_folder(out) as part:
        names = [_draw(part, rank, one, images, card) for rank, found in chosen.items() for one in found]
    return [out / name for name in names]


def _look(model: Network, images: SplitImages, card: ModelCard) -> Iterator[_Seen]:
    device = best_device()
    model.to(device).eval()
    batches = Batches.of(
        images.images, images.targets, batch_size=8, preprocessing=(card.mean, card.std), device=device
    )
    place = 0
    for batch, truths in batches.in_order():
        with torch.inference_mode():
            masks = model(batch).argmax(dim=1).to("cpu", torch.uint8).numpy()
        for mask, truth in zip(masks, truths.cpu().numpy(), strict=True):
            yield _Seen(place, segmentation_scores(_confusion(truth, mask, len(card.classes)))["miou"], mask)
            place += 1


def _confusion(truth: np.ndarray[tuple[int, ...], np.dtype[np.int64]], predicted: Mask, classes: int) -> Counts:
    counted = truth != IGNORED_ID
    codes = truth[counted] * classes + predicted[counted]
    return np.bincount(codes, minlength=classes**2).reshape(classes, classes)


def _draw(folder: Path, rank: str, one: _Seen, images: SplitImages, card: ModelCard) -> str:
    path = images.paths[one.place]
    assert images.masks is not None  # noqa: S101 - the card says segmentation
    picture = comparison(
        images.images[one.place],
        images.masks[one.place],
        one.predicted,
        card.classes,
        title=f"{rank}: {path}, mean IoU {one.miou:.3f}",
    )
    name = f"{rank}_iou_{one.miou:.3f}_{Path(path).stem[:60]}.png"
    (folder / name).write_bytes(picture)
    return name
