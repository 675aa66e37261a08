"""The command line as a user meets it: one clear message, an exit code, never a traceback."""

import csv
import json
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import timm
from safetensors.torch import save_file

from tests.conftest import trial_config
from tests.data.malformed_data import MALFORMED, MalformedData
from tests.data.test_groups import videos
from tests.space.malformed_spaces import MALFORMED_SPACES, MalformedSpace
from tune_cnn.data.cache import Cache
from tune_cnn.results.records import TrialFolder
from tune_cnn.trial import run_trial
from tune_cnn.yaml_files import write_yaml


@pytest.mark.parametrize("case", MALFORMED_SPACES, ids=lambda case: case.id)
def test_a_malformed_space_is_one_clear_message_and_exit_code_2(
    case: MalformedSpace, tmp_path: Path, tune_cnn: Any
) -> None:
    file = tmp_path / "space.yaml"
    file.write_bytes(case.text if isinstance(case.text, bytes) else case.text.encode())
    for command in ("check", "search"):
        outcome = tune_cnn(command, file)
        assert outcome.code == 2
        assert case.says in outcome.err
        assert "Traceback" not in outcome.err + outcome.out
        if case.line is not None:
            assert outcome.err.startswith(f"{file}:{case.line}:")


@pytest.mark.parametrize("case", MALFORMED, ids=lambda case: case.id)
def test_a_malformed_data_set_is_one_clear_message_and_exit_code_2(
    case: MalformedData, tmp_path: Path, tune_cnn: Any
) -> None:
    root = tmp_path / "images"
    root.mkdir()
    data = case.build(root)
    space = {"name": "made", "data": data, "image": {"px": 32}, "model": {"backbone": "resnet18", "weights": "none"}}
    write_yaml(tmp_path / "space.yaml", space)
    outcome = tune_cnn("check", tmp_path / "space.yaml")
    assert outcome.code == 2
    assert case.says in outcome.err
    assert "Traceback" not in outcome.err + outcome.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["search", "none.yaml"], "none.yaml: cannot be read: No such file", id="no-space"),
        pytest.param(["search", "--trails", "3", "x.yaml"], "Possible options: --trials", id="a-misspelt-option"),
        pytest.param(["search", "x.yaml", "--trials", "many"], "Invalid value for '--trials'", id="no-number"),
        pytest.param(["resume", "nowhere"], "give a run folder", id="no-run-to-resume"),
        pytest.param(["extend", "nowhere", "--trials", "9"], "give a run folder", id="no-run-to-extend"),
        pytest.param(["extend", "nowhere"], "Missing option '--trials'", id="no-number-to-extend-to"),
        pytest.param(["leaderboard", "nowhere"], "give a run folder", id="no-run-to-show"),
        pytest.param(["evaluate", "nowhere"], "give a model folder", id="no-model"),
        pytest.param(["predict", "nowhere", "a.jpg"], "give a model folder", id="no-model-to-ask"),
        pytest.param(["predict", "resnet5", "a.jpg"], "or the backbone resnet50", id="a-misspelt-backbone-to-ask"),
        pytest.param(["predict", "resnet50.x", "a.jpg"], "no weights tagged 'x'", id="a-misspelt-tag-to-ask"),
        pytest.param(["predict", ".", "--weights", "w", "a.jpg"], "is for backbones", id="weights-for-a-saved-model"),
        pytest.param(["predict", "resnet50", "--out", "m", "a.jpg"], "is for segmentation", id="masks-of-a-backbone"),
        pytest.param(["train", "none.yaml"], "cannot be read", id="no-config"),
        pytest.param(
            ["search", "x.yaml", "--concurrent", "0"], "Invalid value for '--concurrent'", id="no-trial-at-a-time"
        ),
        pytest.param(
            ["check", "x.yaml", "--cache-gb", "-1"], "Invalid value for '--cache-gb'", id="less-than-no-cache"
        ),
        pytest.param(["check", "x.yaml", "--cache-gb", "much"], "Invalid value for '--cache-gb'", id="cache-in-words"),
        pytest.param(["init", "nowhere"], "no such folder", id="no-data-to-begin-with"),
        pytest.param(["sample", "stars", "x"], "no sample data set 'stars'", id="no-such-sample"),
        pytest.param(["backbones", "resnet9999"], "no backbone matches", id="no-such-backbone"),
        pytest.param(["frobnicate"], "No such command", id="no-such-command"),
        *(
            pytest.param(["search", "x.yaml", option, value], f"Invalid value for '{option}'", id=f"{option}-{value}")
            for option in ("--trials", "--epochs", "--concurrent", "--seed")
            for value in ("-1", "1.5", "nan", "", "1e3")
        ),
        pytest.param(["search", "x.yaml", "--hours", "two"], "Invalid value for '--hours'", id="hours-in-words"),
        pytest.param(["search", "x.yaml", "--cpus-per-trial", "all"], "Invalid value for", id="cpus-in-words"),
        pytest.param(["extend", "x", "--trials", "0"], "Invalid value for '--trials'", id="extended-to-none"),
        pytest.param(["leaderboard", "x", "--top", "0"], "Invalid value for '--top'", id="no-row"),
        pytest.param(["leaderboard"], "Missing argument 'RUN", id="no-run-named"),
        pytest.param(["resume", "a", "b"], "unexpected extra argument", id="two-runs-to-resume"),
        pytest.param(["leaderboard", "/dev/null"], "give a run folder", id="a-device-for-a-run"),
        pytest.param(["evaluate", "/dev/null"], "give a model folder", id="a-device-for-a-model"),
        pytest.param(["search", "."], ".: cannot be read: Is a directory", id="a-folder-for-a-space"),
        pytest.param(["check", "/dev/zero"], "is a pipe or a device, not a file", id="a-device-for-a-space"),
        pytest.param(["train", "."], ".: cannot be read: Is a directory", id="a-folder-for-a-config"),
        pytest.param(["check-cluster", "."], "cannot be read: Is a directory", id="a-folder-for-a-cluster"),
        pytest.param(["predict", ".", "a.jpg"], "give a model folder", id="no-model-in-a-folder"),
        pytest.param(["evaluate", ".", "--split", "dev"], "--split dev: no such split", id="no-such-split"),
        pytest.param(["leaderboard", "a" * 5000], "File name too long", id="a-name-too-long"),
        pytest.param(["resume", "n\udcff"], "n�: is not UTF-8", id="a-name-that-is-no-text"),
        pytest.param(["resume", "\x1b[31m\u202e"], "�[31m�/space.yaml: no such", id="a-name-of-control-characters"),
        pytest.param(["init", "\x1b]0;x\x07"], "�]0;x�: no such folder", id="a-name-that-sets-a-title"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(arguments: list[str], says: str, tune_cnn: Any) -> None:
    outcome = tune_cnn(*arguments)
    assert outcome.code == 2
    assert says in outcome.err
    assert "Traceback" not in outcome.err


def test_control_characters_in_a_name_never_reach_the_terminal(tune_cnn: Any, shapes: Path, tmp_path: Path) -> None:
    odd = shutil.copytree(shapes, tmp_path / "\x1b[31m")
    outcome = tune_cnn("init", odd, "--out", "\x1b[31m.yaml")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("wrote �[31m.yaml; try")


def test_an_out_that_is_no_folder_is_the_callers_fault(tune_cnn: Any, shapes: Path, tmp_path: Path) -> None:
    data = {"kind": "folders", "root": str(shapes), "splits": {"train": "train", "val": "valid"}}
    model = {"backbone": "resnet18", "weights": "none"}
    write_yaml(tmp_path / "space.yaml", {"name": "made", "data": data, "image": {"px": 32}, "model": model})
    (tmp_path / "file").write_text("")
    outcome = tune_cnn("search", "space.yaml", "--out", "file")
    assert (outcome.code, outcome.err) == (2, f"{tmp_path / 'file' / 'made'}: Not a directory\n")


def test_a_space_is_not_taken_for_a_config(tmp_path: Path, tune_cnn: Any) -> None:
    (tmp_path / "space.yaml").write_text("name: a\nsearch: {trials: 3}\nmodel: {backbone: {choice: [a, b]}}\n")
    outcome = tune_cnn("train", "space.yaml")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "or run `tune-cnn search space.yaml`" in outcome.err


def test_the_first_lines_of_the_commands_fit_into_the_help(tune_cnn: Any) -> None:
    assert "..." not in tune_cnn("--help").out.split("Commands:")[1]


def test_the_space_is_wrong_before_the_weights_and_the_data_are(tmp_path: Path, tune_cnn: Any) -> None:
    space = {
        "name": "made",
        "data": {"kind": "folders", "root": "nowhere", "splits": {"train": "train", "val": "val"}},
        "model": {"backbone": "resnet18"},
    }
    write_yaml(tmp_path / "space.yaml", space)
    assert "nowhere" in tune_cnn("search", tmp_path / "space.yaml").err


@pytest.mark.parametrize(
    ("gb", "code", "says"),
    [
        pytest.param("0", 0, "warning [data]: the cache in ", id="none"),
        pytest.param("nan", 2, "Invalid value for '--cache-gb'", id="no-number"),
        pytest.param("inf", 2, "--cache-gb inf: write a number, such as 20", id="no-end"),
    ],
)
def test_how_much_the_cache_may_hold_is_told_on_the_command_line(
    tmp_path: Path, shapes: Path, tune_cnn: Any, gb: str, code: int, says: str
) -> None:
    data = {"kind": "folders", "root": str(shapes), "splits": {"train": "train", "val": "valid"}}
    model = {"backbone": "resnet18", "weights": "none"}
    write_yaml(tmp_path / "space.yaml", {"name": "made", "data": data, "image": {"px": 32}, "model": model})
    outcome = tune_cnn("check", "space.yaml", "--cache-gb", gb, "--cache-dir", "other")
    assert outcome.code == code
    assert (outcome.out + outcome.err).count(says) == 1
    assert not list(tmp_path.glob("other/views/*/entry.json"))


def test_images_too_small_for_a_backbone_are_refused_before_anything_starts(
    tmp_path: Path, shapes: Path, tune_cnn: Any
) -> None:
    data = {"kind": "folders", "root": str(shapes), "splits": {"train": "train", "val": "valid"}}
    space = {
        "name": "made",
        "data": data,
        "image": {"px": 48},
        "model": {"backbone": "inception_v3", "weights": "none"},
    }
    write_yaml(tmp_path / "space.yaml", space)
    outcome = tune_cnn("check", tmp_path / "space.yaml")
    assert (outcome.code, "48 px are too few for inception_v3" in outcome.err) == (2, True)


def test_a_crop_larger_than_the_image_is_refused_before_anything_starts(
    tmp_path: Path, shapes: Path, tune_cnn: Any
) -> None:
    data = {"kind": "folders", "root": str(shapes), "splits": {"train": "train", "val": "valid"}}
    crop = [{"transform": "RandomCrop", "arguments": {"height": 64, "width": 64}}]
    model = {"backbone": "resnet18", "weights": "none"}
    image = {"px": {"choice": [48, 96]}}
    write_yaml(tmp_path / "space.yaml", {"name": "made", "data": data, "image": image, "model": model, "augment": crop})
    outcome = tune_cnn("check", tmp_path / "space.yaml")
    assert outcome.code == 2
    assert "on images of 48 px" in outcome.err
    assert "on images of 96 px" not in outcome.err


@pytest.mark.parametrize("folds", [20, {"choice": [None, 3, 20]}], ids=["fixed", "searched"])
def test_more_folds_than_groups_are_refused_before_anything_starts(folds: Any, tmp_path: Path, tune_cnn: Any) -> None:
    root = videos(tmp_path / "set", images=2)
    data = {"kind": "folders", "root": str(root), "splits": {"val": 0.2, "group": {"pattern": "[a-z]+[0-9]"}}}
    model = {"backbone": "resnet18", "weights": "none"}
    write_yaml(
        tmp_path / "space.yaml", {"name": "made", "data": data, "image": {"px": 32}, "model": model, "folds": folds}
    )
    for command in ("check", "search"):
        outcome = tune_cnn(command, tmp_path / "space.yaml")
        assert outcome.code == 2
        assert outcome.err == "folds: 20 folds of 12 groups leave some empty; write folds: 12 at most\n"
    assert not (tmp_path / "runs" / "made" / "run.json").exists()


def test_what_the_audit_finds_is_shown_and_listed(tmp_path: Path, shapes: Path, tune_cnn: Any) -> None:
    root = shutil.copytree(shapes, tmp_path / "images")
    leaked = next((root / "train" / "ring").iterdir())
    shutil.copy(leaked, root / "test" / "ring" / "again.jpg")
    data = {"kind": "folders", "root": str(root), "splits": {"train": "train", "val": "valid", "test": "test"}}
    space = {"name": "made", "data": data, "image": {"px": 32}, "model": {"backbone": "resnet18", "weights": "none"}}
    write_yaml(tmp_path / "space.yaml", space)
    outcome = tune_cnn("check", tmp_path / "space.yaml", "--csv", tmp_path / "audit.csv")
    assert outcome.code == 0
    assert "val: 15 images; one is worth 6.7 points of accuracy" in outcome.out
    assert (
        "warning [near-twins]: 1 of 16 test images have a near twin in train (1 of them an exact copy)" in outcome.out
    )
    with (tmp_path / "audit.csv").open(newline="") as file:
        [row] = [row for row in csv.DictReader(file) if row["kind"] == "copy_across_splits"]
    found = (row["split"], row["path"], row["other_split"], row["other_path"], row["distance"], row["label"])
    assert found == ("test", "test/ring/again.jpg", "train", f"train/ring/{leaked.name}", "0", "ring")
    assert "findings; --csv FILE lists them" in tune_cnn("check", tmp_path / "space.yaml").out


def test_the_version_is_shown(tune_cnn: Any) -> None:
    assert tune_cnn("--version").out == f"tune-cnn {metadata.version('tune-cnn')}\n"


def test_the_schema_is_json(tune_cnn: Any) -> None:
    assert json.loads(tune_cnn("schema").out)["properties"]["search"]


def test_backbones_can_be_looked_for(tune_cnn: Any) -> None:
    assert "tf_efficientnet_lite0" in tune_cnn("backbones", "lite0").out


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; sys.argv = ['tune-cnn', '--help']; from tune_cnn.cli import app\n"
    code += "try: app()\nexcept SystemExit: pass\n"
    code += "print([name for name in ('torch', 'ray', 'timm', 'optuna', 'pandas') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.fixture(scope="module")
def model(shapes: Path, cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    run_trial(trial_config(shapes), TrialFolder(folder), metric="val_accuracy", cache=cache)
    return folder / "best"


def test_training_shows_its_epochs_on_the_console(shapes: Path, tmp_path: Path, tune_cnn: Any) -> None:
    config = trial_config(shapes, training={"epochs": 2, "batch_size": 8})
    write_yaml(tmp_path / "config.yaml", config.model_dump(mode="json"))
    outcome = tune_cnn("train", tmp_path / "config.yaml", "--out", tmp_path / "trial")
    assert outcome.code == 0
    assert [line.split(":")[0] for line in outcome.out.splitlines()[1:]] == ["epoch 1", "epoch 2"]


def test_a_model_is_evaluated_on_both_splits(model: Path, tune_cnn: Any) -> None:
    scores = json.loads(tune_cnn("evaluate", model, "--json").out)
    card = json.loads((model / "model.json").read_text())
    assert scores["val"]["accuracy"] == card["score"]
    assert sum(map(sum, scores["test"]["confusion"])) == scores["test"]["images"] == 15
    text = tune_cnn("evaluate", model, "--split", "test").out
    assert re.search(rf"^  accuracy +{scores['test']['accuracy']:.4f}$", text, re.MULTILINE)
    assert "specificity" in text


def test_names_in_json_are_printed_as_they_are(shapes: Path, cache: Cache, tmp_path: Path, tune_cnn: Any) -> None:
    images = sorted((shapes / "train").rglob("*.jpg"))
    for split in ("train", "valid"):
        for name, image in ((":smile:", images[0]), ("[red]x", images[-1])):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            (tmp_path / "data" / split / name / "a.jpg").write_bytes(image.read_bytes() + split.encode())
    data = {"kind": "folders", "root": str(tmp_path / "data"), "splits": {"train": "train", "val": "valid"}}
    config = trial_config(tmp_path, data=data, training={"epochs": 1, "batch_size": 2})
    run_trial(config, TrialFolder(tmp_path / "trial"), metric="val_accuracy", cache=cache)
    scores = json.loads(tune_cnn("evaluate", tmp_path / "trial" / "best", "--json").out)
    assert scores["val"]["classes"] == [":smile:", "[red]x"]


def test_predictions_are_printed_and_written(model: Path, shapes: Path, tmp_path: Path, tune_cnn: Any) -> None:
    images = sorted((shapes / "test").rglob("*.jpg"))[:3]
    outcome = tune_cnn("predict", model, *images, "--csv", tmp_path / "out.csv")
    assert outcome.code == 0
    assert all(str(image) in outcome.out for image in images)
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 4


def test_a_table_that_cannot_be_written_is_named(model: Path, shapes: Path, tmp_path: Path, tune_cnn: Any) -> None:
    (tmp_path / "file").write_text("")
    image = next((shapes / "test").rglob("*.jpg"))
    outcome = tune_cnn("predict", model, image, "--csv", tmp_path / "file" / "out.csv")
    assert outcome.code == 2
    assert outcome.err.startswith(f"--csv {tmp_path / 'file' / 'out.csv'}: cannot be written: ")


def test_an_unreadable_image_is_named_and_the_others_are_answered(
    model: Path, shapes: Path, tmp_path: Path, tune_cnn: Any
) -> None:
    good = next((shapes / "test").rglob("*.jpg"))
    (tmp_path / "bad.jpg").write_bytes(good.read_bytes()[:300])
    outcome = tune_cnn("predict", model, tmp_path / "bad.jpg", good)
    assert outcome.code == 2
    assert "bad.jpg" in outcome.err
    assert str(good) in outcome.out


def test_an_untouched_backbone_is_asked(shapes: Path, tmp_path: Path, tune_cnn: Any) -> None:
    image = next((shapes / "test").rglob("*.jpg"))
    whole = timm.create_model("mobilenetv3_small_050")
    (tmp_path / "weights").mkdir()
    save_file(whole.state_dict(), tmp_path / "weights" / "mobilenetv3_small_050.safetensors")
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    arguments = (image, tmp_path / "bad.jpg", "--weights", tmp_path / "weights", "--csv", tmp_path / "out.csv")
    outcome = tune_cnn("predict", "mobilenetv3_small_050", *arguments)
    assert outcome.code == 2
    assert "bad.jpg" in outcome.err
    table = pd.read_csv(tmp_path / "out.csv")
    shares = table.loc[0, [name for name in table.columns if name.startswith("p: ")]]
    assert len(shares) == 1000
    assert sum(shares) == pytest.approx(1)
    best = f"{table['class'][0]} {table['probability'][0]:.3f}"
    (shown,) = [line for line in outcome.out.splitlines() if line.startswith(f"{image}: ")]
    assert shown.startswith(f"{image}: {best}, ")
    assert len(re.findall(r" 0\.\d{3}", shown)) == 5


def test_a_model_is_not_scored_on_images_of_other_classes(
    model: Path, shapes: Path, tmp_path: Path, tune_cnn: Any
) -> None:
    for image in shapes.rglob("*.jpg"):
        target = tmp_path / "other" / image.relative_to(shapes).parent.with_name(image.parent.name + "s") / image.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(image.read_bytes())
    outcome = tune_cnn("evaluate", model, "--data", tmp_path / "other")
    assert outcome.code == 2
    assert "but the model was made for" in outcome.err
