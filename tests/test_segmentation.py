"""A segmentation trial from files to pictures."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console

from tests.conftest import trial_config
from tune_cnn.config import TrialConfig
from tune_cnn.data.cache import Cache
from tune_cnn.errors import DataError
from tune_cnn.evaluation import evaluate_model, predict
from tune_cnn.evaluation_output import print_evaluations, print_predictions
from tune_cnn.repeat import repeat_trial
from tune_cnn.results.effective import compare_effective
from tune_cnn.results.records import EpochRecord, TrialFacts, TrialFolder
from tune_cnn.sample import OBJECTS, write_sample
from tune_cnn.showcase import write_pictures
from tune_cnn.trial import run_trial
from tune_cnn.yaml_files import read_yaml, write_yaml

VALUES = {0: "background", **dict(enumerate(OBJECTS, start=1))}
BINARY = {0: "background", **dict.fromkeys(range(1, 6), "object")}


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated") / "masks"
    write_sample("masks", folder, images_per_class={"train": 2, "valid": 1, "test": 1})
    return folder


def config(root: Path, *, values: dict[int, str] = BINARY, **training: Any) -> TrialConfig:
    splits = {"val": 0.25, "test": 0.25}
    whole = {
        "name": "made",
        "task": "segmentation",
        "data": {
            "kind": "masks", "root": str(root), "images": "images", "masks": "masks", "pairs": "pairs.csv",
            "values": values, "splits": splits,
        },
        "image": {"px": 32},
        "model": {
            "backbone": "mobilenetv3_small_050", "weights": "none", "decoder": "unet", "freeze": {"depth": 0.4},
            "head": {"dropout": 0.2},
        },
        "training": {
            "epochs": 2, "batch_size": 4, "optimizer": {"kind": "adam", "lr": 3e-3}, "loss": ["cross_entropy", "dice"],
            **training,
        },
        "augment": "aerial",
        "seed": 1,
    }  # fmt: skip
    return TrialConfig.model_validate(whole)


def run(config: TrialConfig, folder: Path, cache: Cache, **options: Any) -> list[EpochRecord]:
    return run_trial(config, TrialFolder(folder), metric="val_miou", cache=cache, **options)


def curve(history: list[EpochRecord]) -> list[dict[str, float]]:
    return [dict(record.scores) for record in history]


@pytest.fixture(scope="module")
def trained(masks: Path, cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished trial, and its config.yaml."""
    folder = tmp_path_factory.mktemp("trained") / "trial"
    history = run(config(masks), folder, cache)
    write_yaml(folder / "config.yaml", config(masks).model_dump(mode="json"))
    (folder / "history.json").write_text(json.dumps(curve(history)))
    return folder


def test_what_the_live_objects_hold_is_what_was_asked(masks: Path, trained: Path) -> None:
    file = TrialFolder(trained).effective
    assert compare_effective(config(masks), file) == []
    tree = read_yaml(file).tree
    assert {"model.decoder", "model.head.dropout", "training.loss"} <= set(tree["read_back"])
    other = config(masks, loss="dice")
    assert compare_effective(other, file) == [
        "training.loss is 'dice' in the config, but the live objects hold ['cross_entropy', 'dice']"
    ]


def test_the_best_epoch_is_that_of_the_highest_miou_and_a_saved_model_gives_its_scores_again(
    trained: Path, cache: Cache
) -> None:
    scores = json.loads((trained / "history.json").read_text())
    best = max(scores, key=lambda epoch: epoch["val_miou"])
    assert json.loads((trained / "best" / "model.json").read_text())["score"] == best["val_miou"]
    val, test = evaluate_model(trained / "best", data_root=None, splits=["val", "test"], cache=cache)
    assert {f"val_{name}": value for name, value in val.scores.items()} == {
        name: value for name, value in best.items() if name.startswith("val_")
    }
    assert (val.images, test.images) == (5, 5)
    confusion = pd.read_csv(trained / "best" / "val_confusion.csv").set_index("true")
    assert np.array_equal(confusion.to_numpy(), val.confusion)
    classes = pd.read_csv(trained / "best" / "val_classes.csv")
    assert list(classes.columns) == ["name", "support", "iou", "dice", "precision", "sensitivity", "specificity"]
    assert classes["iou"].mean() == pytest.approx(val.scores["miou"])


def test_a_killed_trial_goes_on_as_if_nothing_had_happened(
    masks: Path, trained: Path, cache: Cache, tmp_path: Path
) -> None:
    class KilledError(BaseException):
        pass

    def kill(_epoch: EpochRecord, _facts: TrialFacts, _memory: float | None) -> None:
        raise KilledError

    with pytest.raises(KilledError):
        run(config(masks), tmp_path, cache, on_epoch=kill)
    assert curve(run(config(masks), tmp_path, cache)) == json.loads((trained / "history.json").read_text())


def test_a_config_alone_can_be_trained_by_its_task_s_own_metric(trained: Path, cache: Cache, tmp_path: Path) -> None:
    repeat_trial(trained / "config.yaml", tmp_path / "again", cache=cache, console=Console(file=StringIO()))
    card, before = (
        json.loads((folder / "best" / "model.json").read_text()) for folder in (tmp_path / "again", trained)
    )
    assert (card["metric"], card["score"]) == ("val_miou", before["score"])


def test_predicted_masks_have_the_size_of_their_images_and_their_shares_add_up(
    masks: Path, trained: Path, tmp_path: Path
) -> None:
    images = sorted((masks / "images").glob("*.jpg"))[:3]
    (tmp_path / "more").mkdir()
    namesake = tmp_path / "more" / images[0].name
    namesake.write_bytes(images[1].read_bytes())
    screen = StringIO()
    print_predictions(
        predict(trained / "best", [*images, namesake]),
        Console(file=screen, width=200),
        top=2,
        csv_file=tmp_path / "out.csv",
        masks_dir=tmp_path / "masks",
    )
    written = sorted(file.name for file in (tmp_path / "masks").iterdir())
    assert written == ["0000-2.png", "0000.png", "0001.png", "0002.png"]
    table = pd.read_csv(tmp_path / "out.csv")
    for row, image in zip(table.itertuples(), [*images, namesake], strict=True):
        with Image.open(str(row.mask)) as mask, Image.open(image) as photograph:
            assert mask.size == photograph.size
            share = float(np.mean(np.asarray(mask) == 1))
        assert table["p: object"][int(str(row.Index))] == pytest.approx(share)
    assert "0000.png" in screen.getvalue()


def test_masks_asked_of_a_classifier_are_refused(shapes: Path, cache: Cache, tmp_path: Path) -> None:
    model = {"backbone": "mobilenetv3_small_050", "weights": "none", "freeze": {"depth": 1.0}}
    classifier = trial_config(shapes, training={"epochs": 1, "batch_size": 8}, model=model)
    run_trial(classifier, TrialFolder(tmp_path / "t"), metric="val_accuracy", cache=cache)
    found = predict(tmp_path / "t" / "best", sorted((shapes / "test").rglob("*.jpg"))[:1])
    with pytest.raises(DataError, match="--out is for the masks of a segmentation model"):
        print_predictions(found, Console(file=StringIO()), top=1, csv_file=None, masks_dir=tmp_path / "masks")
    assert write_pictures(tmp_path / "t" / "best", tmp_path / "pictures", split="test", cache=cache) == []


def test_the_best_the_median_and_the_worst_test_image_are_drawn(trained: Path, cache: Cache, tmp_path: Path) -> None:
    files = write_pictures(trained / "best", tmp_path / "pictures", split="test", cache=cache)
    assert [file.name.split("_")[0] for file in files] == ["best", "median", "worst"]
    ious = [float(file.name.split("_")[2]) for file in files]
    assert ious == sorted(ious, reverse=True)
    assert len({file.read_bytes() for file in files}) == 3
    again = write_pictures(trained / "best", tmp_path / "pictures", split="test", cache=cache)
    assert [file.name for file in again] == [file.name for file in files]


def test_several_classes_are_scored_each(masks: Path, cache: Cache, tmp_path: Path) -> None:
    run(config(masks, values=VALUES, epochs=1, class_weights="balanced", loss="focal"), tmp_path / "t", cache)
    (val,) = evaluate_model(tmp_path / "t" / "best", data_root=None, splits=["val"], cache=cache)
    assert val.classes == ("background", *OBJECTS)
    screen = StringIO()
    print_evaluations([val], Console(file=screen, width=120))
    assert all(name in screen.getvalue() for name in ("iou", "dice", "miou", *OBJECTS))
    assert len(write_pictures(tmp_path / "t" / "best", tmp_path / "p", split="val", cache=cache)) == 3
