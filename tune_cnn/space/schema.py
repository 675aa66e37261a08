"""A space: fixed values, ranges, choices and conditions, read from a file and checked before anything starts."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tune_cnn.config import TrialConfig
from tune_cnn.config_faults import faults_of, shown
from tune_cnn.config_shape import Scalar
from tune_cnn.errors import SpaceFileError
from tune_cnn.sections.search import METRICS, SearchConfig
from tune_cnn.space.checks import (
    BackboneCheck,
    PolicyCheck,
    SizeCheck,
    SpaceFile,
    check_backbones,
    check_policies,
    check_sizes,
    check_values,
    check_weights,
)
from tune_cnn.space.domains import Choice, FloatRange, IntRange, Parameter
from tune_cnn.space.expressions import read_tree
from tune_cnn.space.faults import Faults
from tune_cnn.space.nodes import Drawn, Fixed, Named, Suggest, draw, every_value, parameters, plain
from tune_cnn.space.overrides import with_override, with_value
from tune_cnn.yaml_files import Document, read_yaml

__all__ = ["Choice", "Drawn", "FloatRange", "IntRange", "Parameter", "Space", "read_space"]

# What may differ between the start of a search and its continuation.
NOT_IN_DIGEST = ("trials", "hours", "concurrent", "finals")


@dataclass(frozen=True)
class Space:
    """What a search chooses from. Made by `read_space`, which has checked it against `TrialConfig`."""

    path: Path
    base_dir: Path
    """What `data.root` and a file in `model.weights` are relative to: the space file's project."""
    search: SearchConfig
    root: Named
    """The tree of fixed and searched values, without the search section."""

    @property
    def name(self) -> str:
        """The name the space gives itself."""
        return str(_fixed(self.root, "name"))

    @property
    def task(self) -> str:
        """The task of every trial."""
        return str(_fixed(self.root, "task") or TrialConfig.model_fields["task"].default)

    @property
    def data_root(self) -> Path:
        """The folder of the images, absolute."""
        data = self.root.children["data"]
        return self.base_dir / Path(str(_fixed(data, "root"))).expanduser()

    @property
    def folds(self) -> tuple[int, ...]:
        """Every number of folds that a trial may be given, ascending; empty if none has folds."""
        node = self.root.children.get("folds")
        return tuple(sorted({value for value in (every_value(node) if node else ()) if isinstance(value, int)}))

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every searched value over all branches, outer before inner; empty if all is fixed."""
        return tuple(parameters(self.root))

    def draw(self, suggest: Suggest) -> Drawn:
        """One point: `suggest` is asked for the parameters on the branches taken, and for no other.

        Raises:
            ValueError: a value was suggested that is no label of its choice.
        """
        return draw(self.root, suggest)

    def defaults(self) -> dict[str, Scalar]:
        """The default point, by key; only the parameters on the branches the defaults take."""
        return self.draw(lambda parameter: parameter.default).values

    def tree_of(self, values: Mapping[str, Scalar]) -> Drawn:
        """The point of values that were drawn before.

        Raises:
            SpaceFileError: a value is missing or no label of its choice: the values belong to another space.
        """
        try:
            return self.draw(lambda parameter: values[parameter.key])
        except (KeyError, ValueError) as error:
            raise SpaceFileError(f"{self.path}: the values of another space do not fit this one: {error}") from error

    def config(self, tree: Any, *, seed: int, cpu_threads: int, weights_file: str | None) -> TrialConfig:
        """The config of a drawn tree, paths absolute.

        Raises:
            SpaceFileError: the values do not go together; read_space has tried the extremes, not every mixture.
        """
        model = {**tree["model"], "weights_file": weights_file}
        data = {**tree["data"], "root": str(self.data_root)}
        whole = {**tree, "data": data, "model": model, "seed": seed, "cpu_threads": cpu_threads}
        try:
            return TrialConfig.model_validate(whole)
        except ValidationError as error:
            raise SpaceFileError(
                fault.line(str(self.path)) for fault in faults_of(error, TrialConfig, whole)
            ) from error

    def canonical(self) -> dict[str, Any]:
        """The space as plain data in the shape of a space file, defaults and overrides written out."""
        tree = plain(self.root)
        return {
            **tree,
            "data": {**tree["data"], "root": str(self.data_root)},
            "search": self.search.model_dump(mode="json"),
        }

    def digest(self) -> str:
        """SHA-256 over all that makes this search another search: not its budget, its finals, where images lie."""
        tree = self.canonical()
        tree["search"] = {name: value for name, value in tree["search"].items() if name not in NOT_IN_DIGEST}
        tree["data"] = {name: value for name, value in tree["data"].items() if name != "root"}
        text = json.dumps(tree, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


def _written_task(document: Document) -> str:
    return str(document.tree.get("task"))


def _fixed(node: Any, name: str) -> Scalar:
    inner = node.children.get(name) if isinstance(node, Named) else None
    return inner.value if isinstance(inner, Fixed) else None


def project_of(path: Path) -> Path:
    """The folder that paths in a space file are relative to.

    The nearest parent that holds a `pyproject.toml` or `.git`; else, for a file in a folder `spaces`, the folder
    around that; else the file's own.
    """
    folder = path.resolve().parent
    for parent in (folder, *folder.parents):
        if (parent / "pyproject.toml").exists() or (parent / ".git").exists():
            return parent
    return folder.parent if folder.name == "spaces" else folder


def read_space(
    path: Path,
    *,
    overrides: Sequence[str] = (),
    data_root: Path | None = None,
    backbone_check: BackboneCheck | None = None,
    size_check: SizeCheck | None = None,
    policy_check: PolicyCheck | None = None,
) -> Space:
    """Read a space file and check every value it could produce.

    Args:
        path: the space file.
        overrides: `NAME=VALUE` texts of the command line, the last one winning.
        data_root: the folder of the images instead of `data.root`; relative to the working directory.
        backbone_check: says what is wrong with a backbone and its freeze depth; empty if nothing.
        size_check: says where images are too small for a model's layers; empty if nowhere.
        policy_check: says what is wrong with a list of one transform; empty if nothing.

    Raises:
        SpaceFileError: all faults at once, each `file:line: dotted.name: what, and what to write instead`.
    """
    document = _with_overrides(read_yaml(path), overrides, data_root)
    faults = Faults(document)
    if not isinstance(document.tree, dict):
        raise SpaceFileError(
            f"{path}:1: {shown(document.tree)} is not a space; write names and values, name: my-search first"
        )
    raw = {name: value for name, value in document.tree.items() if name != "search"}
    search = document.tree.get("search", {})
    if isinstance(search, dict) and "metric" not in search and _written_task(document) in METRICS:
        search = {**search, "metric": METRICS[_written_task(document)][0]}
    base_dir = project_of(path)
    root = read_tree(raw, SpaceFile, faults, base_dir)
    read_tree({"search": search}, SpaceFile, faults, base_dir)  # an expression in there is a fault
    check_values(root, search, faults)
    check_weights(root, faults)
    if backbone_check is not None:
        check_backbones(root, backbone_check, faults)
    if size_check is not None:
        check_sizes(root, size_check, faults)
    if policy_check is not None:
        check_policies(root, policy_check, faults)
    faults.raise_any()
    return Space(path, base_dir, SearchConfig.model_validate(search), root)


def _with_overrides(document: Document, overrides: Sequence[str], data_root: Path | None) -> Document:
    found: list[str] = []
    for text in overrides:
        try:
            document = with_override(document, text)
        except SpaceFileError as error:
            found += error.faults
    if found:
        raise SpaceFileError(found)
    if data_root is not None and isinstance(document.tree, dict) and isinstance(document.tree.get("data"), dict):
        document = with_value(document, ("data", "root"), str(data_root.resolve()), f"--data {data_root}")
    return document
