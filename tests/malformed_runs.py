"""Run folders and model folders of which one file is not what it was: what is done to it, and what is then told."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from tune_cnn.results.best_model import card_text, read_own

Damage = Callable[[Path], object]
"""Done to a file, which is there."""
Words = tuple[str, ...]
"""Of a command; `{run}` and `{image}` stand for paths."""
LEADERBOARD: Words = ("leaderboard", "{run}")
RESUME: Words = ("resume", "{run}")
EXTEND: Words = ("extend", "{run}", "--trials", "9")
TRAIN: Words = ("train", "{run}/trials/0000/config.yaml")
EVALUATE: Words = ("evaluate", "{run}/best", "--json")
PREDICT: Words = ("predict", "{run}/best", "{image}")


@dataclass(frozen=True)
class MalformedRun:
    """A run folder with one odd file in it, and the commands that must refuse it with code 2."""

    id: str
    file: str
    damage: Damage
    says: str
    commands: tuple[Words, ...]


def _gone(file: Path) -> None:
    shutil.rmtree(file) if file.is_dir() and not file.is_symlink() else file.unlink()


def _holding(data: bytes | str) -> Damage:
    return lambda file: file.write_bytes(data.encode() if isinstance(data, str) else data)


def _replaced(make: Callable[[Path], object]) -> Damage:
    def damage(file: Path) -> None:
        _gone(file)
        make(file)

    return damage


def _half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _card(**changed: Any) -> Damage:
    """Another card, of which a stranger has made the digest right."""

    def damage(file: Path) -> None:
        body = read_own(file) | changed
        file.write_text(card_text({name: value for name, value in body.items() if value is not ...}))

    return damage


def _config(old: str, new: str) -> Damage:
    """Another config of a model, of which a stranger has made the digest right."""

    def damage(file: Path) -> None:
        _text(old, new)(file)
        _card(config_sha256=sha256(file.read_bytes()).hexdigest())(file.with_name("model.json"))

    return damage


def _body(**changed: Any) -> Damage:
    """Put other values into a JSON file; `...` takes one out."""

    def damage(file: Path) -> None:
        body = json.loads(file.read_bytes()) | changed
        file.write_text(json.dumps({name: value for name, value in body.items() if value is not ...}))

    return damage


def _text(old: str, new: str) -> Damage:
    def damage(file: Path) -> None:
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))

    return damage


def _sql(*statements: str) -> Damage:
    def damage(file: Path) -> None:
        with closing(sqlite3.connect(file)) as study:
            for statement in statements:
                study.execute(statement)
            study.commit()

    return damage


def _weights(data: bytes) -> Damage:
    """Other weights, of which a stranger has made the digest right."""

    def damage(file: Path) -> None:
        file.write_bytes(data)
        _card(sha256=sha256(data).hexdigest())(file.with_name("model.json"))

    return damage


_NESTED = "[" * 3_000 + "]" * 3_000
_BOMB = "[&a0 [x, x], " + ", ".join(f"&a{number + 1} [*a{number}, *a{number}]" for number in range(12)) + "]"
_WRONG: dict[str, Damage] = {
    "empty": _holding(""),
    "binary": _holding(bytes(range(256))),
    "in-latin-1": _holding("name: größe".encode("latin-1")),
    "a-list": _holding("[]"),
    "a-number": _holding("7"),
    "null": _holding("null"),
    "no-number": _holding("NaN"),
    "a-number-without-end": _holding("9" * 5000),
    "nested-too-deep": _holding(_NESTED),
    "cut-in-half": _half,
    "a-folder": _replaced(Path.mkdir),
    "a-pipe": _replaced(os.mkfifo),
    "a-circle-of-links": _replaced(lambda file: file.symlink_to(file.name)),
    "without-end": _replaced(lambda file: file.symlink_to("/dev/zero")),
}


def _odd(file: str, name: str, *commands: Words) -> list[MalformedRun]:
    return [MalformedRun(f"{name}-{kind}", file, do, Path(file).name, commands) for kind, do in _WRONG.items()]


def _cases(file: str, name: str, *commands: Words, **cases: tuple[Damage, str]) -> list[MalformedRun]:
    """Cases about one file; what is there is said with `_` for `-`."""
    return [
        MalformedRun(f"{name}-{kind.replace('_', '-')}", file, damage, says, commands)
        for kind, (damage, says) in cases.items()
    ]


_NO_STUDY = "study.db: not a study of tune-cnn, or a damaged one"
_DAMAGED_STUDY = "study.db: damaged"
_NO_NETWORK = "model.safetensors: does not hold the network that model.json describes: "
_CUSTOM: dict[str, Any] = {"backbone": {"kind": "custom", "layers": [{"conv": 10**9}]}, "weights": "none"}

MALFORMED_RUNS = (
    *_odd("run.json", "facts", RESUME),
    *_odd("space.yaml", "space", LEADERBOARD, RESUME),
    *_odd("study.db", "study", LEADERBOARD),
    *_odd("trials/0000/config.yaml", "config", TRAIN),
    *_odd("best/model.json", "card", EVALUATE, PREDICT),
    *_odd("best/model.safetensors", "weights", EVALUATE, PREDICT),
    *_odd("best/config.yaml", "model-config", EVALUATE),
    *_cases(
        "run.json",
        "facts",
        *(RESUME, EXTEND),
        of_a_later_version=(_body(format=99), "run.json: was written by tune-cnn"),
        with_a_text_for_a_number=(_body(seed="three"), "run.json: damaged (seed: Input should be a valid integer)"),
        without_the_digest=(_body(space_digest=...), "run.json: damaged (space_digest: Field required)"),
        with_null_for_versions=(_body(versions=None), "run.json: damaged (versions: "),
        with_calls_that_are_none=(_body(continued={}), "run.json: damaged (continued: "),
        with_a_number_for_a_class=(_body(classes=[1, 2]), "run.json: damaged (classes.0: "),
        with_another_torch=(_body(versions={"torch": "1.0"}), "was searched with torch 1.0 then"),
        with_control_characters=(_body(versions={"torch": "1.0\x1b[31m\x9b31m\u202e"}), "torch 1.0�[31m�31m� then"),
        with_other_images=(_body(data="0" * 64), "was searched on other images (fingerprint 000000000000, now "),
        with_other_weights=(
            _body(weights={"custom none": {"file": "/etc/passwd", "sha256": "0"}}),
            "/etc/passwd: not a safetensors file",
        ),
    ),
    *_cases("run.json", "facts", RESUME, with_another_digest=(_body(space_digest="0" * 64), "was changed since")),
    *_cases(
        "space.yaml",
        "space",
        *(LEADERBOARD, RESUME, EXTEND),
        missing=(Path.unlink, "space.yaml: "),
        with_a_number_below_none=(_text("trials: 2", "trials: -2"), "search.trials: -2 is too small"),
        with_a_name_twice=(_text("seed: 3", "seed: 3\n  seed: 4"), "search.seed: written twice"),
        with_python_in_it=(
            _text("seed: 3", "seed: !!python/object/apply:os.system ['id']"),
            "the tag '!!python/object/apply:os.system' is not taken",
        ),
        with_a_bomb=(_text("name: chaos", f"name: {_BOMB}"), "more than 10000 values, aliases written out"),
    ),
    *_cases(
        "space.yaml",
        "space",
        *(RESUME, EXTEND),
        with_a_path_for_a_name=(_text("name: chaos", "name: ../../x"), "name: '../../x' has characters"),
        with_control_characters=(_text("name: chaos", 'name: "\\e[31m"'), r"name: '\x1b[31m' has characters"),
        with_no_search=(_text("search:", "srch:"), "srch: unknown name; did you mean 'search'?"),
    ),
    *_cases(
        "study.db",
        "study",
        *(LEADERBOARD, RESUME, EXTEND),
        missing=(Path.unlink, "study.db"),
        of_something_else=(_replaced(_sql("CREATE TABLE a (b)")), _NO_STUDY),
        of_another_name=(_sql("UPDATE studies SET study_name = 'other'"), _NO_STUDY),
        of_a_later_optuna=(_sql("UPDATE alembic_version SET version_num = 'v99'"), _NO_STUDY),
        with_a_score_that_was_changed=(
            _sql("UPDATE trial_user_attributes SET value_json = replace(value_json, '0.', '1.') WHERE key LIKE 'ep%'"),
            _DAMAGED_STUDY,
        ),
        with_values_that_are_no_json=(_sql("UPDATE trial_user_attributes SET value_json = '{'"), _DAMAGED_STUDY),
        with_a_state_that_is_none=(_sql("UPDATE trials SET state = 'HAPPY'"), _DAMAGED_STUDY),
        with_a_trial_less=(_sql("DELETE FROM trials WHERE number = 0"), _DAMAGED_STUDY),
        with_texts_for_numbers=(_sql("UPDATE trials SET number = 'x'"), _DAMAGED_STUDY),
        with_what_was_drawn_gone=(_sql("DELETE FROM trial_user_attributes WHERE key = 'drawn'"), _DAMAGED_STUDY),
        with_no_table_of_trials=(_sql("DROP TABLE trials"), _DAMAGED_STUDY),
        with_texts_for_parameters=(_sql("UPDATE trial_params SET param_value = 'x'"), _DAMAGED_STUDY),
        with_lists_for_domains=(_sql("UPDATE trial_params SET distribution_json = '[]'"), _DAMAGED_STUDY),
    ),
    *_cases(
        "best/model.json",
        "card",
        *(EVALUATE, PREDICT),
        missing=(Path.unlink, "model.json: no such file; give a model folder"),
        changed=(_text('"score": 0.', '"score": 1.'), "model.json: damaged, or changed by hand"),
        of_a_later_version=(_card(format=2), "tune-cnn: format: "),
        without_classes=(_card(classes=...), "tune-cnn: classes: Field required"),
        with_no_class=(_card(classes=[]), "tune-cnn: classes: "),
        with_one_class=(_card(classes=["cat"]), _NO_NETWORK + "head.1.weight is (2, 2), not (1, 2); head.1.bias"),
        with_numbers_for_classes=(_card(classes=[1, 2]), "tune-cnn: classes.0: "),
        with_two_means=(_card(mean=[0.5, 0.5]), "tune-cnn: mean: "),
        with_no_number_for_a_mean=(_card(mean=[float("nan"), 0.5, 0.5]), "tune-cnn: mean.0: "),
        with_no_deviation=(_card(std=[0.0, 0.0, 0.0]), "tune-cnn: std.0: "),
        with_a_deviation_below_none=(_card(std=[-1.0, 1.0, 1.0]), "tune-cnn: std.0: "),
        of_an_unknown_task=(_card(task="regression"), "tune-cnn: task: "),
        of_another_task=(_card(task="segmentation"), "model.decoder None does not fit the task segmentation"),
        of_an_unknown_backbone=(
            _card(model={"backbone": "resnet5", "weights": "none"}),
            "model.json: unknown backbone 'resnet5'",
        ),
        of_another_network=(
            _card(model={"backbone": "resnet18", "weights": "none"}),
            _NO_NETWORK + "backbone.conv1.weight is missing; ",
        ),
        of_a_network_beyond_memory=(_card(model=_CUSTOM), "model.json: the network that it describes cannot be built"),
        with_images_of_no_size=(_card(image={"px": 0}), "tune-cnn: image.px: "),
        with_images_beyond_memory=(_card(image={"px": 10**9}), "tune-cnn: image.px: "),
        with_a_path_for_a_digest=(_card(sha256="../../x"), "model.safetensors: damaged, its SHA-256"),
        with_an_unknown_name=(_card(more=1), "tune-cnn: more: "),
        with_an_unknown_metric=(_card(metric="x"), "tune-cnn: metric: "),
        without_a_score=(_card(score=None), "tune-cnn: score: "),
    ),
    *_cases(
        "best/model.safetensors",
        "weights",
        *(EVALUATE, PREDICT),
        missing=(Path.unlink, "model.safetensors: no such file"),
        of_nothing=(_weights(b""), _NO_NETWORK),
        of_something_else=(_weights(bytes(100)), _NO_NETWORK),
        of_no_tensors=(_weights((2).to_bytes(8, "little") + b"{}"), _NO_NETWORK + "backbone.layers.0.conv.weight is m"),
        with_a_header_without_end=(_weights((2**63).to_bytes(8, "little") + b"{}"), _NO_NETWORK),
        that_are_a_pickle=(_weights(b"cos\nsystem\n(S'id'\ntR."), _NO_NETWORK),
    ),
    *_cases(
        "best/config.yaml",
        "model-config",
        EVALUATE,
        missing=(Path.unlink, "config.yaml: no such file"),
        cut=(_half, "config.yaml: damaged"),
        changed=(
            _text("batch_size: 4", "batch_size: 5"),
            "config.yaml: damaged, its SHA-256 is not the one that model",
        ),
        of_a_space=(_config("lr: ", "lr: {range: [1, 2]} # "), "config.yaml:"),
        of_images_that_are_gone=(_config("root: ", "root: /nowhere # "), "/nowhere"),
        of_images_that_are_a_device=(_config("root: ", "root: /dev/zero # "), "/dev/zero"),
    ),
)
