"""`tune-cnn init`: look at a folder of images and write a space to begin with."""

import json
import re
from pathlib import Path
from typing import Any

from tune_cnn.errors import DataError, InputError
from tune_cnn.files import write_whole
from tune_cnn.mask_guess import guess_masks

_VAL_NAMES = ("valid", "val", "validation", "dev")
_BACKBONE = "tf_efficientnet_lite0"  # small, quick, and its weights come with the installation

_HEAD = """\
# Written by `tune-cnn init`. `tune-cnn check {file}` shows what it would search.
# `tune-cnn schema` lists all that can be written.
name: {name}
task: {task}
data: {data}
"""
_TEMPLATE = (
    _HEAD
    + """\
image: {{px: 160, fit: pad}}               # larger sees more and takes longer: time goes with px squared
model:
  backbone: {backbone}     # or {{choice: [resnet50, mobilenetv3_large_100]}}; see `tune-cnn backbones`
  weights: imagenet
  freeze: {{depth: {{choice: [1.0, 0.8, 0.5]}}}}  # the share of the backbone that stands still
  head: {{hidden: [], dropout: {{range: [0.0, 0.5]}}}}
training:
  epochs: 20
  batch_size: {{choice: [16, 32]}}
  optimizer: {{kind: adamw, lr: {{range: [1e-4, 1e-2], log: true}}, weight_decay: 0.01}}
  schedule: {{kind: plateau, factor: {{choice: [0.1, 0.3]}}, patience_epochs: 2}}
  stop_patience_epochs: 8
augment: {{choice: [none, light, strong]}}
search: {{trials: 24, metric: val_accuracy, seed: 0, asha: {{grace_epochs: 4, reduction: 3}}}}
"""
)
_MASKS_TEMPLATE = (
    _HEAD
    + """\
image: {{px: 160, fit: stretch}}           # a multiple of 32; larger sees more: time goes with px squared
model:
  decoder: unet                          # or {{choice: [unet, fpn, deeplabv3plus]}}
  backbone: {backbone}     # or {{choice: [resnet50, mobilenet_v2]}}; see `tune-cnn backbones`
  weights: imagenet
  head: {{dropout: {{range: [0.0, 0.3]}}}}
training:
  epochs: 20
  batch_size: 16
  loss: {{choice: [cross_entropy, [cross_entropy, dice]]}}
  optimizer: {{kind: adam, lr: {{range: [3e-4, 1e-2], log: true}}, weight_decay: 0.0001}}
  schedule: {{kind: one_cycle}}
augment: {{choice: [none, light, strong]}}   # aerial, where up and down mean nothing
search: {{trials: 24, metric: val_miou, seed: 0, asha: {{grace_epochs: 4, reduction: 3}}}}
"""
)


def write_starter(data_dir: Path, out: Path | None) -> Path:
    """Write a starter space for the images in `data_dir`, and give its path.

    Args:
        data_dir: class folders, split folders with class folders or an `_annotations.csv`, `train.txt` lists, or a
            folder of images beside one of masks.
        out: the file; `spaces/NAME.yaml` by default.

    Raises:
        DataError: the folder's layout is none of those.
        InputError: the file exists.
    """
    data = guess_data(data_dir)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", data_dir.resolve().name).strip("-._") or "images"
    file = out or Path("spaces") / f"{name}.yaml"
    if file.exists():
        raise InputError(f"{file}: exists already; write --out with another name")
    # JSON is YAML: a folder's name cannot break out of its quotes.
    masks = data["kind"] == "masks"
    text = (_MASKS_TEMPLATE if masks else _TEMPLATE).format(
        file=file,
        name=json.dumps(name),
        task="segmentation" if masks else "classification",
        data=json.dumps(data),
        backbone=_BACKBONE,
    )
    write_whole(file, text)
    return file


def guess_data(data_dir: Path) -> dict[str, Any]:
    """Guess the data section for a folder.

    Raises:
        DataError: nothing there that could be guessed from.
    """
    if not data_dir.is_dir():
        raise DataError(f"{data_dir}: no such folder")
    root = str(data_dir.resolve())
    if masks := guess_masks(data_dir):
        return {"kind": "masks", "root": root, **masks}
    if (data_dir / "train.txt").is_file():
        return {"kind": "lists", "root": root, "splits": _splits(data_dir, ".txt")} | _classes(data_dir)
    if (data_dir / "train").is_dir():
        kind = "boxes_csv" if (data_dir / "train" / "_annotations.csv").is_file() else "folders"
        return {"kind": kind, "root": root, "splits": _splits(data_dir, "")}
    if (data_dir / "_annotations.csv").is_file():
        return {"kind": "boxes_csv", "root": root, "splits": {"val": 0.15, "test": 0.15, "seed": 0}}
    folders = [entry for entry in data_dir.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    if len(folders) > 1:
        return {"kind": "folders", "root": root, "splits": {"val": 0.15, "test": 0.15, "seed": 0}}
    raise DataError(
        f"{data_dir}: neither class folders, nor train/ with class folders or _annotations.csv, nor train.txt, nor a "
        "folder of images beside one of masks; "
        "put the images of each class into a folder of the class's name"
    )


def _splits(data_dir: Path, suffix: str) -> dict[str, Any]:
    val = next((f"{name}{suffix}" for name in _VAL_NAMES if (data_dir / f"{name}{suffix}").exists()), None)
    splits: dict[str, Any] = {"train": f"train{suffix}", "val": val or 0.15}
    if (data_dir / f"test{suffix}").exists():
        splits["test"] = f"test{suffix}"
    return splits


def _classes(data_dir: Path) -> dict[str, str]:
    return {"classes": "classes.txt"} if (data_dir / "classes.txt").is_file() else {}
