"""Spaces for tests: a small one, and ways to change it."""

from pathlib import Path
from typing import Any

from tune_cnn.space.schema import Space, read_space
from tune_cnn.yaml_files import write_yaml

SMALL: dict[str, Any] = {
    "name": "shapes",
    "data": {"kind": "folders", "root": "images", "splits": {"train": "train", "val": "valid"}},
    "model": {"backbone": "tf_efficientnet_lite0"},
    "training": {"epochs": 20, "optimizer": {"kind": "adam", "lr": 1e-3}},
    "search": {"trials": 40},
}


def changed(**values: Any) -> dict[str, Any]:
    """SMALL with values at dotted names, written with two underscores for a dot: training__epochs=5."""
    tree = SMALL
    for name, value in values.items():
        tree = _placed(tree, name.split("__"), value)
    return tree


def _placed(tree: dict[str, Any], names: list[str], value: Any) -> dict[str, Any]:
    first, *rest = names
    return {**tree, first: _placed(tree.get(first, {}), rest, value) if rest else value}


def space_of(folder: Path, **values: Any) -> Space:
    """The space of SMALL with these values, written to a file and read."""
    path = folder / "space.yaml"
    write_yaml(path, changed(**values))
    return read_space(path)
