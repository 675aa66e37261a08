"""What both programs are given: the same images in class folders, and the same files of weights."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save_file

from benchmarks.places import AQUARIUM
from tune_cnn.data.index import read_index
from tune_cnn.data.table import Row, Split
from tune_cnn.models.classifier import create_backbone
from tune_cnn.models.units import batch_norms
from tune_cnn.models.weights import resolve_weights
from tune_cnn.sample import write_sample
from tune_cnn.sections.data import BoxesCsvData, Splits

PRETRAINED = "tf_efficientnet_lite0"
"""Its ImageNet weights come with a Python package; other backbones get random ones, which take the same time."""
_FOLDERS: Mapping[Split, str] = {"train": "train", "val": "valid"}
_STAND_IN_PX = (384, 288)


@dataclass(frozen=True)
class Images:
    """A data set as both programs read it: train/CLASS/*.jpg and valid/CLASS/*.jpg."""

    folder: Path
    train: int
    val: int


def find_aquarium(asked: Path | None) -> Path | None:
    """Give the folder of the real data: the one that is asked for, else where it usually lies, else None."""
    return next((place for place in ([asked] if asked else AQUARIUM) if place.is_dir()), None)


def write_images(folder: Path, *, train: int, val: int, real: Path | None) -> Images:
    """Write the first images of each class in turn until there are enough, of the aquarium or of a generated stand-in.

    Args:
        folder: where to; one that is there is taken as it is.
        train: how many training images at most.
        val: how many validation images at most.
        real: the folder of the aquarium; None for the stand-in.
    """
    if not folder.exists():
        if real is None:
            _write_stand_in(folder, train=train, val=val)
        else:
            _copy_aquarium(real, folder, {"train": train, "val": val})
    counts = {split: sum(1 for _ in (folder / name).glob("*/*.jpg")) for split, name in _FOLDERS.items()}
    return Images(folder, counts["train"], counts["val"])


def _copy_aquarium(real: Path, folder: Path, most: Mapping[Split, int]) -> None:
    splits = Splits(train="train", val="valid", test="test")
    index = read_index(BoxesCsvData(kind="boxes_csv", root=str(real), splits=splits))
    for split, name in _FOLDERS.items():
        rows = _in_turn([row for row in index.rows if row.split == split], len(index.classes))
        for row in list(rows)[: most[split]]:
            place = folder / name / index.classes[row.label]
            place.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(real / row.path, place / Path(row.path).name)


def _in_turn(rows: Sequence[Row], classes: int) -> Iterator[Row]:
    """Give images so that any number of the first has the proportions of all: by place within their class."""
    queues = [[row for row in rows if row.label == label] for label in range(classes)]
    placed = [((place + 0.5) / len(queue), row) for queue in queues for place, row in enumerate(queue)]
    yield from (row for _, row in sorted(placed, key=lambda pair: (pair[0], pair[1].path)))


def _write_stand_in(folder: Path, *, train: int, val: int) -> None:
    per_class = {"train": -(-train // 5), "valid": -(-val // 5), "test": 1}
    write_sample("shapes", folder, images_per_class=per_class)  # type: ignore[arg-type]
    for file in folder.glob("*/*/*.jpg"):  # as large as those of the aquarium, so that decoding takes as long
        Image.open(file).resize(_STAND_IN_PX).save(file, quality=90)


def write_weights(folder: Path, backbones: Sequence[str]) -> dict[str, Path]:
    """Write a file of weights per backbone, named so that `--weights` finds it.

    Random ones have seen noise, so that their BatchNorm passes on values of a usual size.
    """
    folder.mkdir(parents=True)
    files = {name: folder / f"{name}.safetensors" for name in backbones}
    for name, file in files.items():
        if name == PRETRAINED:
            found = resolve_weights(name, "imagenet", weights_dir=None, cache_dir=folder / "found").file
            assert found is not None  # noqa: S101 - imagenet is always a file
            shutil.copyfile(found, file)
        else:
            _write_random(name, file)
    return files


def _write_random(name: str, file: Path) -> None:
    torch.manual_seed(0)
    network = create_backbone(name).train()
    for layer in batch_norms(network):
        layer.momentum = None  # the plain mean over all batches, so that a few suffice
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(16, 3, 64, 64))
    save_file({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, file)
