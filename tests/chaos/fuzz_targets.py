"""What is fuzzed: each target is made in a folder, and gives what feeds it mutations of good inputs.

A target lets through whatever is raised on purpose; anything else is a crash.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter
from typer.main import get_command
from typer.testing import CliRunner

from tests.chaos.ground import AT_RANDOM, Ground
from tests.chaos.processes import Order, run
from tests.chaos.stub_trial import StubTraining, epochs
from tests.space.malformed_segmentation import GOOD_MASKS
from tests.space.malformed_spaces import GOOD
from tune_cnn.cli import app
from tune_cnn.cli_start import options_of_commands
from tune_cnn.config import TrialConfig
from tune_cnn.data.boxes_csv import COLUMNS
from tune_cnn.data.index import read_index
from tune_cnn.errors import InputError, TuneCnnError
from tune_cnn.evaluation import load_trained
from tune_cnn.results.best_model import (
    CARD,
    STATE,
    WEIGHTS,
    bring_up_to_date,
    card_text,
    read_own,
    state_text,
    tensors_name,
)
from tune_cnn.results.intervals import ImageAnswers, ImageCounts
from tune_cnn.results.outcome_files import read_outcomes, write_outcomes
from tune_cnn.results.records import RunFolder, TrialFolder
from tune_cnn.search.cluster_check import check_cluster
from tune_cnn.search.compare import compare_runs
from tune_cnn.search.open_space import open_space
from tune_cnn.search.recorded import read_recorded
from tune_cnn.sections.data import Data
from tune_cnn.space.schema import read_space
from tune_cnn.training.checkpoint import load_checkpoint
from tune_cnn.yaml_files import load_model as read_config
from tune_cnn.yaml_files import write_yaml

Mutation = tuple[float, int, bytes]
"""Where, from the beginning (0) to the end (1); how many bytes go; what comes in their place."""
Feed = Callable[[list[Mutation], int], None]
"""Takes mutations, and a number to choose an input by."""

_DATA: TypeAdapter[Data] = TypeAdapter(Data)
_SPLITS = {"train": "train", "val": "val"}
_TABLES: Mapping[str, tuple[dict[str, Any], str]] = {
    "_annotations.csv": (
        {"kind": "boxes_csv", "splits": _SPLITS},
        ",".join(COLUMNS) + "\na.jpg,20,16,cat,1,2,9,8\nb.jpg,20,16,dog,0,0,20,16\n",
    ),
    "list.txt": (
        {"kind": "lists", "splits": {"train": "train/list.txt", "val": "val/list.txt"}},
        "train/a.jpg 0\ntrain/b.jpg 1\n",
    ),
    "pairs.csv": (
        {"kind": "masks", "images": ".", "masks": ".", "pairs": "pairs.csv", "values": {0: "a", 255: "b"}}
        | {"splits": _SPLITS},
        "Image,Mask\na.jpg,a.png\nb.jpg,b.png\n",
    ),
}


def mutated(data: bytes, mutations: list[Mutation]) -> bytes:
    """Take something out and put something in, at some places."""
    for place, removed, added in mutations:
        at = round(place * len(data))
        data = data[:at] + added + data[at + removed :]
    return data


@dataclass(frozen=True)
class Target:
    """Something that reads what it is given."""

    make: Callable[[Path], Feed]
    examples: int
    """In a round."""

    @property
    def id(self) -> str:
        return self.make.__name__


def spaces(folder: Path) -> Feed:
    """The parser of space files."""
    texts, file = (GOOD, GOOD_MASKS), folder / "space.yaml"

    def feed(mutations: list[Mutation], choice: int) -> None:
        file.write_bytes(mutated(texts[choice % len(texts)].encode(), mutations))
        with suppress(InputError):
            space = read_space(file)
            space.config(space.tree_of(space.defaults()).tree, seed=0, cpu_threads=1, weights_file=None)
            open_space(file)

    return feed


def tables(folder: Path) -> Feed:
    """The readers of CSV files and lists: boxes, lists of images, pairs of images and masks."""
    for part in ("train", "val"):
        (folder / part).mkdir()
        for name in ("a.jpg", "b.jpg", "a.png", "b.png"):
            (folder / part / name).touch()

    def feed(mutations: list[Mutation], choice: int) -> None:
        name, (section, text) = list(_TABLES.items())[choice % len(_TABLES)]
        (folder / "train" / name).write_bytes(mutated(text.encode(), mutations))
        (folder / "val" / name).write_text(text.replace("train/", "val/"))
        with suppress(InputError):
            read_index(_DATA.validate_python({**section, "root": str(folder)}))

    return feed


def checkpoints(folder: Path) -> Feed:
    """Checkpoints of which a stranger has made the digests right."""
    trial = _trial(folder)
    config, whole = read_config(trial.config, TrialConfig), folder / "whole"
    trial.path.rename(whole)
    state = read_own(whole / "last" / STATE)
    tensors = (whole / "last" / state["tensors"]).read_bytes()

    def feed(mutations: list[Mutation], choice: int) -> None:
        shutil.rmtree(trial.path, ignore_errors=True)
        shutil.copytree(whole, trial.path, symlinks=True)
        if choice % 2:
            (trial.last / STATE).write_bytes(_sealed(mutated(json.dumps(state).encode(), mutations)))
        else:
            data = mutated(tensors, mutations)
            name = tensors_name(1, data)
            (trial.last / name).write_bytes(data)
            named = {**state, "tensors": name, "best": {**state["best"], "tensors": name}}
            (trial.last / STATE).write_text(state_text(named))
        load_checkpoint(trial.last, StubTraining(config, trial).model)
        bring_up_to_date(trial)

    return feed


def _sealed(text: bytes) -> bytes:
    """Make the digest right of what still is a state; other texts stay as they are."""
    with suppress(ValueError):
        body = json.loads(text)
        if isinstance(body, dict):
            body.pop("own_sha256", None)
        return state_text(body).encode() if isinstance(body, dict) else text
    return text


def models(folder: Path) -> Feed:
    """Models whose card and weights a stranger has made; the digests are right."""
    trial = _trial(folder)
    whole, there = trial.best.resolve(), folder / "model"

    def feed(mutations: list[Mutation], choice: int) -> None:
        shutil.rmtree(there, ignore_errors=True)
        shutil.copytree(whole, there)
        name = (CARD, WEIGHTS, "config.yaml")[choice % 3]
        (there / name).write_bytes(mutated((whole / name).read_bytes(), mutations))
        card = read_own(whole / CARD)
        if name == CARD:
            (there / CARD).write_bytes(_sealed((there / CARD).read_bytes()))
        else:
            digest = sha256((there / name).read_bytes()).hexdigest()
            changed = {"sha256" if name == WEIGHTS else "config_sha256": digest}
            (there / CARD).write_text(card_text({**card, **changed}))
        with suppress(InputError):
            load_trained(there)

    return feed


def outcomes(folder: Path) -> Feed:
    """What models are said to have answered to images."""
    numbers, file = np.arange(8), folder / "outcomes.npz"
    kinds = ImageAnswers(numbers % 2, numbers % 3, 3, "ab"), ImageCounts(numbers.reshape(2, 2, 2), "cd")

    def feed(mutations: list[Mutation], choice: int) -> None:
        write_outcomes(file, {"val": kinds[choice % 2]})
        file.write_bytes(mutated(file.read_bytes(), mutations))
        if found := read_outcomes(file):
            found["val"].counts(np.arange(len(found["val"])))

    return feed


def cluster_files(folder: Path) -> Feed:
    """Files of `ray up` and of KubeRay."""
    root = Path(__file__).parents[2]
    texts = [(root / name).read_bytes() for name in ("cluster.yaml", "cluster-local.yaml", "kubernetes/rayjob.yaml")]
    file, commands = folder / "cluster.yaml", options_of_commands(get_command(app))

    def feed(mutations: list[Mutation], choice: int) -> None:
        file.write_bytes(mutated(texts[choice % len(texts)], mutations))
        with suppress(InputError):
            check_cluster(file, commands=commands)

    return feed


def run_folders(folder: Path) -> Feed:
    """Run folders in which one file is not what it was."""
    ground, path = Ground.make(folder / "ground"), folder / "whole"
    code, said = run(Order(ground.search(path, AT_RANDOM), folder / "out", folder / "trained"))
    assert code == 0, said
    names = ("study.db", "space.yaml", "run.json", "leaderboard.csv")
    there = folder / "run"

    def feed(mutations: list[Mutation], choice: int) -> None:
        shutil.rmtree(there, ignore_errors=True)
        shutil.copytree(path, there, symlinks=True, ignore=shutil.ignore_patterns("trials"))
        name = names[choice % len(names)]
        (there / name).write_bytes(mutated((path / name).read_bytes(), mutations))
        with suppress(TuneCnnError):
            compare_runs([there])
        with suppress(TuneCnnError):
            recorded = read_recorded(there)
            _ = recorded.facts, recorded.space
        with suppress(TuneCnnError):
            open_space(RunFolder(there).space)

    return feed


def command_lines(folder: Path) -> Feed:
    """Words and options of commands; what they name is not there."""
    commands = ("check", "plan", "train", "leaderboard", "evaluate", "predict", "check-cluster", "resume", "report")
    options = ("--data", "--set", "--top", "--csv", "--json", "--split", "--trials", "--hours", "--cache-gb", "--out")

    def feed(mutations: list[Mutation], choice: int) -> None:
        words = [added.decode(errors="surrogateescape") for _, _, added in mutations]
        chosen = [options[removed % len(options)] for _, removed, _ in mutations]
        pairs = [word for pair in zip(chosen, words, strict=True) for word in pair]
        result = CliRunner().invoke(app, [commands[choice % len(commands)], str(folder / "none"), *pairs])
        if not isinstance(result.exception, SystemExit | TuneCnnError | OSError | None):
            raise result.exception

    return feed


def _trial(folder: Path) -> TrialFolder:
    """A trial of three epochs, with its checkpoint and its best model."""
    space = read_space(Ground.make(folder / "ground").path / "chaos.yaml")
    tree = space.tree_of(space.defaults()).tree
    config = space.config(tree, seed=0, cpu_threads=1, weights_file=None)
    trial = TrialFolder(folder / "trial")
    told = epochs(config, trial, metric="val_accuracy")
    for _ in range(3):
        next(told)
    told.close()  # type: ignore[attr-defined]
    write_yaml(trial.config, config.model_dump(mode="json"))
    return trial


TARGETS = (
    Target(spaces, 30),
    Target(tables, 60),
    Target(checkpoints, 20),
    Target(models, 30),
    Target(outcomes, 60),
    Target(run_folders, 4),
    Target(command_lines, 20),
    Target(cluster_files, 10),
)
