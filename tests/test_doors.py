"""Each foreign library has one door, and imports go downward only."""

import ast
from pathlib import Path

import pytest

import tune_cnn

PACKAGE = Path(tune_cnn.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

DOORS = {
    # runner.py and its other end, worker.py: Tune; ray_cluster.py: Ray itself; knock.py: who answers at an address,
    # before it is joined; cluster_check.py: Ray's schema of the files of `ray up`.
    "ray": {
        *("search/runner.py", "search/worker.py", "search/ray_cluster.py"),
        *("search/knock.py", "search/cluster_check.py"),
    },
    "jsonschema": {"search/cluster_check.py"},
    "optuna": {
        "search/study.py",
        "search/study_file.py",
        "search/study_copy.py",
        "search/study_rows.py",
        "search/study_trials.py",
        "search/sampler.py",
    },
    "sqlalchemy": {"search/study.py", "search/study_file.py", "search/study_rows.py"},
    # zero_shot.py: ImageNet's class names and the preprocessing that a whole network was published with.
    "timm": {"models/classifier.py", "models/weights.py", "models/catalogue_builder.py", "models/zero_shot.py"},
    "segmentation_models_pytorch": {"models/segmenter.py"},
    "huggingface_hub": {"models/hub.py"},
    "albumentations": {"data/augment.py"},
    "cv2": {"data/augment.py"},
    "imagehash": {"data/sketch.py"},
    "ruamel": {"yaml_files.py"},
    "sklearn": {"training/baseline.py"},
    "fsspec": {"storage/remote.py"},
    "aiohttp": {"storage/remote.py"},
    "botocore": {"storage/remote.py"},
    "gcsfs": {"storage/remote.py"},
    "google": {"storage/remote.py"},
    "typer": {"cli.py", "cli_models.py", "cli_start.py", "cli_options.py"},
}
# Lower number, lower layer; a module may import its own layer and those below.
LAYERS = {
    **dict.fromkeys(
        ("errors", "files", "interrupts", "invocation", "machine", "masking", "progress", "seeds", "urls"), 0
    ),
    **dict.fromkeys(("config", "sections", "config_shape", "config_faults", "yaml_files", "yaml_blocks"), 1),
    **dict.fromkeys(("asha", "cluster", "results"), 2),
    **dict.fromkeys(("data", "models", "space", "sample", "storage"), 3),
    "training": 4,
    **dict.fromkeys(("trial", "evaluation", "outcomes", "evaluation_output", "showcase"), 5),
    "planning": 6,
    **dict.fromkeys(("search", "starter", "mask_guess"), 7),
    "repeat": 8,
    **dict.fromkeys(("cli", "cli_models", "cli_start", "cli_options", "cli_terminal"), 9),
    "__main__": 10,
}
LIGHT = [
    *("config.py", "sections", "files.py", "yaml_files.py", "results", "space", "data/index.py", "data/split.py"),
    *(
        "cluster",
        "models/catalogue.py",
        "models/encoders.py",
        "models/freeze.py",
        "models/layer_plan.py",
        "models/trunk.py",
        "training/plan.py",
        "asha.py",
        "search/history.py",
        "search/open_space.py",
        "cli.py",
        "__main__.py",
    ),
]
HEAVY = {
    "torch",
    "ray",
    "timm",
    "albumentations",
    "optuna",
    "torchvision",
    "sklearn",
    "segmentation_models_pytorch",
}


def name(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


def imports(module: Path, *, inside_functions: bool = True) -> set[str]:
    """The dotted names a module imports; without those inside functions, what importing it costs."""
    tree = ast.parse(module.read_text())
    nodes = ast.walk(tree) if inside_functions else iter(tree.body)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def layer(dotted: str) -> int:
    return LAYERS[dotted.split(".")[1]]


@pytest.mark.parametrize("library", DOORS)
def test_a_foreign_library_is_imported_behind_its_door_alone(library: str) -> None:
    users = {name(module) for module in MODULES if any(one.split(".")[0] == library for one in imports(module))}
    assert users <= DOORS[library]
    assert users, f"nobody imports {library} any more: take its door out"


@pytest.mark.parametrize("module", [module for module in MODULES if module.name != "__init__.py"], ids=name)
def test_imports_go_downward(module: Path) -> None:
    own = layer("tune_cnn." + name(module).removesuffix(".py").split("/")[0])
    upward = {one for one in imports(module) if one.startswith("tune_cnn.") and layer(one) > own}
    assert not upward


@pytest.mark.parametrize("module", [module for module in MODULES if module.name == "__init__.py"], ids=name)
def test_package_files_import_nothing(module: Path) -> None:
    assert not module.read_text().strip()


def light_closure(start: Path, seen: set[Path]) -> set[str]:
    """Everything that importing a module imports, through the package's own modules."""
    if start in seen:
        return set()
    seen.add(start)
    found: set[str] = set()
    for one in imports(start, inside_functions=False):
        own = PACKAGE.parent / Path(*one.split(".")).with_suffix(".py")
        found |= light_closure(own, seen) if one.startswith("tune_cnn.") else {one.split(".")[0]}
    return found


@pytest.mark.parametrize("entry", LIGHT)
def test_what_answers_at_once_imports_nothing_heavy(entry: str) -> None:
    path = PACKAGE / entry
    for module in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
        assert not light_closure(module, set()) & HEAVY, module


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_a_module_can_be_read_in_one_sitting(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= 400
