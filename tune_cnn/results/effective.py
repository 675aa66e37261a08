"""effective.yaml: what the live model, optimiser and data hold, written by the trial and compared by the driver.

Sampled values that never reach the trainer make a search worthless without a sign of it; so each trial reads its values
back from the live objects, and the driver holds them against the config it handed out.
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tune_cnn.config import TrialConfig
from tune_cnn.yaml_files import read_yaml, write_yaml


def write_effective(
    path: Path, config: TrialConfig, *, live: Mapping[str, Any], observed: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the config's tree with the values read back in place of the asked ones.

    Args:
        path: effective.yaml.
        config: what was asked; values no live object holds are taken from it.
        live: by dotted name, what the live objects hold.
        observed: further facts of the live objects that no config value states.

    Returns:
        All that was written.
    """
    tree = config.model_dump(mode="json")
    for name, value in live.items():
        _put(tree, name, value)
    tree |= {"read_back": sorted(live), "observed": dict(observed)}
    write_yaml(path, tree, durable=False)
    return tree


def compare_effective(config: TrialConfig, path: Path) -> list[str]:
    """Say, a line each, where the values read back differ from the config; empty where all agree.

    Raises:
        SpaceFileError: the file is missing or damaged.
    """
    return differences(config, read_yaml(path).tree)


def differences(config: TrialConfig, tree: Mapping[str, Any]) -> list[str]:
    """Say what `compare_effective` says, of a file that is read already."""
    asked = dict(leaves(config.model_dump(mode="json")))
    held = dict(leaves(tree))
    return [
        f"{name} is {asked.get(name)!r} in the config, but the live objects hold {held.get(name)!r}"
        for name in tree["read_back"]
        if not _equal(asked.get(name), held.get(name))
    ]


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Give (dotted name, value) of everything in a tree that is not a mapping; lists are values."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _equal(asked: Any, held: Any) -> bool:
    if isinstance(asked, float) and isinstance(held, int | float):
        return math.isclose(asked, held, rel_tol=1e-9)
    return json.dumps(asked, sort_keys=True) == json.dumps(held, sort_keys=True)


def _put(tree: dict[str, Any], name: str, value: Any) -> None:
    *sections, leaf = name.split(".")
    for section in sections:
        tree = tree[section]
    tree[leaf] = value
