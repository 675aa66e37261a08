import json
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.conftest import trial_config
from tests.full_disk import full_disk
from tune_cnn.config import TrialConfig
from tune_cnn.data.cache import Cache
from tune_cnn.data.dataset import open_data
from tune_cnn.errors import ChangedDataError, DivergedError, RunFolderError
from tune_cnn.evaluation import evaluate_model, predict
from tune_cnn.models import resident
from tune_cnn.models.build import build_network
from tune_cnn.models.saved import load_model
from tune_cnn.results.best_model import bring_up_to_date
from tune_cnn.results.effective import compare_effective
from tune_cnn.results.failures import failure_of
from tune_cnn.results.records import EpochRecord, TrialFacts, TrialFolder
from tune_cnn.trial import run_trial
from tune_cnn.yaml_files import read_yaml

OPTIMIZERS: list[dict[str, Any]] = [
    {"kind": "adam", "lr": 1e-3, "weight_decay": 0.01},
    {"kind": "adamw", "lr": 1e-3},
    {"kind": "sgd", "lr": 1e-2, "momentum": 0.8},
    {"kind": "rmsprop", "lr": 1e-4},
]
SCHEDULES: list[dict[str, Any]] = [
    {"kind": "plateau", "factor": 0.3, "patience_epochs": 1},
    {"kind": "one_cycle", "rise": 0.4},
    {"kind": "cosine", "final_fraction": 0.1},
    {"kind": "constant"},
]


def run(config: TrialConfig, folder: Path, cache: Cache, **options: Any) -> list[EpochRecord]:
    return run_trial(config, TrialFolder(folder), metric="val_accuracy", cache=cache, **options)


def curve(history: list[EpochRecord]) -> list[dict[str, float]]:
    return [{**record.scores, "lr": record.lr, "frozen": record.frozen_units} for record in history]


def with_training(root: Path, **training: Any) -> TrialConfig:
    return trial_config(root, training={"epochs": 3, "batch_size": 8, **training})


def test_the_same_config_and_seed_give_the_same_curve(shapes: Path, cache: Cache, tmp_path: Path) -> None:
    first = run(trial_config(shapes), tmp_path / "first", cache)
    torch.randn(7)  # whatever else drew from the global generator in between must not matter
    second = run(trial_config(shapes), tmp_path / "second", cache)
    assert curve(first) == curve(second)
    other = run(trial_config(shapes, seed=2), tmp_path / "other", cache)
    assert curve(other) != curve(first)


def test_what_ran_before_in_a_process_changes_no_trial(shapes: Path, cache: Cache, tmp_path: Path) -> None:
    config = trial_config(shapes, training={"epochs": 2, "batch_size": 16}, augment="none")
    resident._kept.clear()  # as in a new process
    alone = run(config, tmp_path / "alone", cache)
    run(trial_config(shapes, training={"epochs": 1, "batch_size": 8}, seed=5), tmp_path / "other", cache)
    after = run(config, tmp_path / "after", cache)
    assert curve(after) == curve(alone)
    alike = [(tmp_path / name / "best" / "model.safetensors").read_bytes() for name in ("alone", "after")]
    assert alike[0] == alike[1]


class Killed(BaseException):
    """What a test raises in place of a kill."""


def test_on_a_disk_that_fills_up_the_last_good_checkpoint_stays_and_the_trial_goes_on_from_it(
    shapes: Path, cache: Cache, tmp_path: Path
) -> None:
    config = trial_config(shapes, augment="none")
    whole = run(config, tmp_path / "whole", cache)
    with ExitStack() as until_it_is_mended:

        def fill(epoch: EpochRecord, _facts: TrialFacts, _memory: float | None) -> None:
            if epoch.epoch == 2:
                until_it_is_mended.enter_context(full_disk(100_000))

        with pytest.raises(OSError, match="File too large") as failed:
            run(config, tmp_path / "cut", cache, on_epoch=fill)
    assert failure_of(failed.value).blame == "store"  # the search stops, and no trial is blamed
    assert curve(run(config, tmp_path / "cut", cache)) == curve(whole)
    assert "goes on after epoch 2" in (tmp_path / "cut" / "trial.log").read_text()


@pytest.mark.parametrize("damaged", [1, 2], ids=["the-newest", "both"])
def test_a_trial_whose_checkpoint_is_damaged_comes_the_same_way_again_and_its_log_says_from_where(
    shapes: Path, cache: Cache, tmp_path: Path, damaged: int
) -> None:
    config = trial_config(shapes, augment="none")
    whole = run(config, tmp_path / "whole", cache)

    def kill(epoch: EpochRecord, _facts: TrialFacts, _memory: float | None) -> None:
        if epoch.epoch == 3:
            raise Killed

    with pytest.raises(Killed):
        run(config, tmp_path / "cut", cache, on_epoch=kill)
    newest_first = sorted((tmp_path / "cut" / "last").glob("*.safetensors"), reverse=True)
    for file in newest_first[:damaged]:
        file.write_bytes(file.read_bytes()[:-1])
    assert curve(run(config, tmp_path / "cut", cache)) == curve(whole)
    log = (tmp_path / "cut" / "trial.log").read_text()
    assert ("goes on after epoch 2" if damaged == 1 else "the trial begins anew") in log


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    list(zip(OPTIMIZERS, SCHEDULES, strict=True)),
    ids=[f"{one['kind']}-{other['kind']}" for one, other in zip(OPTIMIZERS, SCHEDULES, strict=True)],
)
def test_a_killed_trial_goes_on_as_if_nothing_had_happened(
    shapes: Path, cache: Cache, tmp_path: Path, optimizer: dict[str, Any], schedule: dict[str, Any]
) -> None:
    training = {"epochs": 4, "batch_size": 16, "optimizer": optimizer, "schedule": schedule, "warm_up": {"epochs": 1}}
    config = trial_config(shapes, training=training, augment="none")
    whole = run(config, tmp_path / "whole", cache)

    def kill_after(epochs: int) -> None:
        def on_epoch(epoch: EpochRecord, _facts: TrialFacts, _memory: float | None) -> None:
            if epoch.epoch == epochs:
                raise Killed

        with pytest.raises(Killed):
            run(config, tmp_path / "parts", cache, on_epoch=on_epoch)

    kill_after(1)
    kill_after(3)
    assert curve(run(config, tmp_path / "parts", cache)) == curve(whole)


def test_a_resumed_trial_tells_of_every_epoch_again(shapes: Path, cache: Cache, tmp_path: Path) -> None:
    told: list[int] = []
    config = trial_config(shapes)
    run(config, tmp_path / "trial", cache)
    run(config, tmp_path / "trial", cache, on_epoch=lambda epoch, _facts, _memory: told.append(epoch.epoch))
    assert told == [1, 2, 3]


def test_frozen_units_stand_still_to_the_bit_and_the_others_move(shapes: Path, cache: Cache, tmp_path: Path) -> None:
    config = trial_config(shapes)
    history = run(config, tmp_path / "trial", cache)
    trained, _ = load_model(tmp_path / "trial" / "best")
    torch.manual_seed(config.seed)
    before = build_network(config.model, 5, px=32).state_dict()
    moved = {name for name, tensor in trained.state_dict().items() if not torch.equal(tensor, before[name])}
    assert history[0].frozen_units == 8  # half of test_resnet's fifteen units: the convolutions of its stem, and a norm
    still = ("backbone.conv1", "backbone.bn1")
    assert moved == {name for name in before if not name.startswith(still)}


def test_warm_up_freezes_everything_then_thaws_to_the_depth(shapes: Path, cache: Cache, tmp_path: Path) -> None:
    history = run(with_training(shapes, warm_up={"epochs": 2}), tmp_path / "trial", cache)
    assert [record.frozen_units for record in history] == [15, 15, 8]


# Two units, trained within milliseconds.
TINY = {"backbone": {"kind": "custom", "layers": [{"conv": 4, "pool": 2, "repeat": 2}]}}


def test_phases_are_proved_by_the_recorded_rates_and_frozen_units(shapes: Path, cache: Cache, tmp_path: Path) -> None:
    optimizer = {"kind": "sgd", "lr": 1e-4}
    schedule = {"kind": "cosine", "final_fraction": 0.1}
    warm_up = {"epochs": 2, "lr": 0.5}
    training = {"epochs": 5, "batch_size": 8, "optimizer": optimizer, "schedule": schedule, "warm_up": warm_up}
    history = run(trial_config(shapes, model=TINY, training=training), tmp_path / "trial", cache)
    assert [record.frozen_units for record in history] == [2, 2, 0, 0, 0]
    thirds = [0.9 * (1 + np.cos(np.pi * third / 3)) / 2 + 0.1 for third in range(3)]
    assert [record.lr for record in history] == pytest.approx([0.5, 0.5, *(1e-4 * share for share in thirds)])


def test_the_layers_of_a_network_from_scratch_are_read_back(shapes: Path, cache: Cache, tmp_path: Path) -> None:
    head = {"convolutions": [{"conv": 3, "kernel": 1}], "features": "flat", "hidden": [6], "batch_norm": True}
    config = trial_config(shapes, model=TINY | {"head": head}, training={"epochs": 1, "batch_size": 8})
    run(config, tmp_path, cache)
    file = TrialFolder(tmp_path).effective
    assert compare_effective(config, file) == []
    observed = read_yaml(file).tree["observed"]
    assert [(layer["conv"], layer["pool"]) for layer in observed["layers"]] == [(4, 2), (4, 2)]
    assert [layer["kernel"] for layer in observed["head_convolutions"]] == [1]
    (test,) = evaluate_model(tmp_path / "best", data_root=None, splits=["test"], cache=cache)
    assert test.images == 15


EARLY = {  # a rate at which nothing moves: the second epoch cannot be better than the first
    "epochs": 6,
    "batch_size": 16,
    "optimizer": {"kind": "adam", "lr": 1e-3, "layer_decay": 0.5},
    "schedule": {"kind": "one_cycle"},
    "warm_up": {"epochs": 4, "lr": 1e-12, "stop_patience_epochs": 1},
}


def test_a_warm_up_that_brings_nothing_ends_early_and_leaves_its_epochs(
    shapes: Path, cache: Cache, tmp_path: Path
) -> None:
    history = run(trial_config(shapes, model=TINY, training=EARLY), tmp_path / "trial", cache)
    assert [record.frozen_units for record in history] == [2, 2, 0, 0, 0, 0]
    rates = [record.lr for record in history]
    assert rates[:2] == [1e-12, 1e-12]
    assert rates.index(max(rates)) in (3, 4), "one cycle over the four epochs that are left"
    assert max(rates) > 5e-4


@pytest.mark.parametrize("killed_after", [1, 2, 3], ids=["in-the-warm-up", "at-its-end", "in-the-training-proper"])
def test_a_kill_around_an_early_end_of_the_warm_up_changes_nothing(
    shapes: Path, cache: Cache, tmp_path: Path, killed_after: int
) -> None:
    config = trial_config(shapes, model=TINY, training=EARLY)

    def kill(epoch: EpochRecord, _facts: TrialFacts, _memory: float | None) -> None:
        if epoch.epoch == killed_after:
            raise Killed

    with pytest.raises(Killed):
        run(config, tmp_path / "parts", cache, on_epoch=kill)
    assert curve(run(config, tmp_path / "parts", cache)) == curve(run(config, tmp_path / "whole", cache))


def test_the_best_epochs_weights_are_kept_not_the_last(shapes: Path, cache: Cache, tmp_path: Path) -> None:
    config = with_training(shapes, epochs=6, optimizer={"kind": "sgd", "lr": 0.3})
    history = run(config, tmp_path / "trial", cache)
    best = max(history, key=lambda record: (record.score, -record.epoch))
    assert best.epoch < 6, "this run is meant to get worse towards its end"
    card = json.loads((tmp_path / "trial" / "best" / "model.json").read_text())
    assert (card["epoch"], card["score"]) == (best.epoch, best.score)
    val, test = evaluate_model(tmp_path / "trial" / "best", data_root=None, splits=["val", "test"], cache=cache)
    for name, value in val.scores.items():
        assert value == best.scores[f"val_{name}"]
    assert (val.images, test.images) == (15, 15)
    confusion = pd.read_csv(tmp_path / "trial" / "best" / "val_confusion.csv").set_index("true")
    assert np.array_equal(confusion.to_numpy(), val.confusion)


class StoppedError(Exception):
    """What ends a trial from outside, between two epochs."""


@pytest.mark.parametrize("folds", [None, 2])
def test_wherever_a_trial_is_killed_the_best_epoch_so_far_is_not_lost(
    shapes: Path, cache: Cache, tmp_path: Path, folds: int | None
) -> None:
    thawed = {"epochs": 5, "batch_size": 8, "warm_up": {"epochs": 2}, "optimizer": {"kind": "adam", "lr": 0.03}}
    config = trial_config(shapes, model=TINY, training=thawed, augment="none", folds=folds)
    whole = run(config, tmp_path / "whole", cache)
    best = max(whole, key=lambda record: (record.score, -record.epoch))
    assert 2 < best.epoch < 5, "the best epoch is meant to be one after the thaw, and not the last"
    folder = TrialFolder(tmp_path / "parts")

    def kill(epoch: EpochRecord, _facts: TrialFacts, _memory: float | None) -> None:
        if epoch.epoch > len(told):
            told.append(epoch.epoch)
            raise StoppedError

    told: list[int] = []
    while len(told) < 5:
        with pytest.raises(StoppedError):
            run(config, folder.path, cache, on_epoch=kill)
    assert told == [1, 2, 3, 4, 5], "no epoch was trained twice"
    assert json.loads((folder.best / "model.json").read_text())["epoch"] == 1
    bring_up_to_date(folder)  # as the driver does for a trial that was stopped
    for name in ("model.safetensors", "model.json", "val_confusion.csv"):
        assert (folder.best / name).read_bytes() == (tmp_path / "whole" / "best" / name).read_bytes()
    assert json.loads((folder.best / "model.json").read_text())["epoch"] == best.epoch


def test_training_stops_once_its_patience_has_run_out(shapes: Path, cache: Cache, tmp_path: Path) -> None:
    config = with_training(shapes, epochs=20, stop_patience_epochs=2, optimizer={"kind": "adam", "lr": 1e-12})
    history = run(config, tmp_path / "trial", cache)
    best = max(history, key=lambda record: (record.score, -record.epoch))
    assert len(history) == best.epoch + 2 < 20


def test_a_loss_that_is_no_number_ends_the_trial(shapes: Path, cache: Cache, tmp_path: Path) -> None:
    config = with_training(shapes, epochs=5, optimizer={"kind": "sgd", "lr": 1e30})
    with pytest.raises(DivergedError, match=r"lower training\.optimizer\.lr"):
        run(config, tmp_path / "trial", cache)
    assert "DivergedError" in TrialFolder(tmp_path / "trial").error.read_text()


@pytest.mark.parametrize(
    "training",
    [
        *({"optimizer": optimizer, "class_weights": "balanced", "label_smoothing": 0.1} for optimizer in OPTIMIZERS),
        *({"optimizer": {"kind": "adam", "lr": 0.01}, "schedule": schedule} for schedule in SCHEDULES),
        {"optimizer": {"kind": "adam"}, "stop_patience_epochs": 2, "warm_up": {"epochs": 1}},
        {
            "optimizer": {"kind": "adamw", "lr": 0.01, "layer_decay": 0.5},
            "schedule": {"kind": "cosine", "final_fraction": 0.2},
            "warm_up": {"epochs": 1, "lr": 0.02, "stop_patience_epochs": 3},
        },
    ],
    ids=json.dumps,
)
def test_what_the_live_objects_hold_is_what_was_asked(
    shapes: Path, cache: Cache, tmp_path: Path, training: dict[str, Any]
) -> None:
    head = {"hidden": [16, 8], "batch_norm": True, "dropout": 0.3}
    model = {"backbone": "resnet18", "weights": "none", "freeze": {"last_units": 3}, "head": head}
    config = trial_config(shapes, model=model, training={"epochs": 2, "batch_size": 8, **training})
    run(config, tmp_path, cache)
    file = TrialFolder(tmp_path).effective
    assert compare_effective(config, file) == []
    effective = read_yaml(file).tree
    assert {"training.optimizer.lr", "training.batch_size", "model.head.hidden"} <= set(effective["read_back"])
    assert (effective["observed"]["phase"], effective["observed"]["frozen_units"]) == ("train", 10)
    if training["optimizer"].get("layer_decay"):
        # The three last units are two blocks and the pooling, which has no weights and no rate.
        assert effective["observed"]["learning_rates"] == pytest.approx([0.0025, 0.005, 0.01])
    assert [transform["transform"] for transform in effective["observed"]["transforms"]]
    other = config.model_copy(update={"training": config.training.model_copy(update={"batch_size": 9})})
    assert compare_effective(other, file) == ["training.batch_size is 9 in the config, but the live objects hold 8"]


def test_after_a_warm_up_effective_yaml_shows_the_training_proper(shapes: Path, cache: Cache, tmp_path: Path) -> None:
    phases: list[tuple[str, int]] = []
    told: list[Any] = []

    def look(_epoch: EpochRecord, _facts: TrialFacts, _memory: float | None) -> None:
        tree = read_yaml(TrialFolder(tmp_path).effective).tree
        assert json.loads(json.dumps(told[-1])) == tree, "who listens is told what the file says"
        phases.append((tree["observed"]["phase"], tree["observed"]["frozen_units"]))

    config = with_training(shapes, epochs=2, warm_up={"epochs": 1})
    run(config, tmp_path, cache, on_epoch=look, on_read_back=told.append)
    assert phases == [("warm_up", 15), ("train", 8)]
    assert compare_effective(config, TrialFolder(tmp_path).effective) == []


def test_a_policy_that_does_not_reach_the_training_is_seen(shapes: Path, cache: Cache, tmp_path: Path) -> None:
    run(with_training(shapes, epochs=1).model_copy(update={"augment": "none"}), tmp_path, cache)
    asked = with_training(shapes, epochs=1)
    assert asked.augment == "light"
    assert "augment is 'light' in the config" in " ".join(compare_effective(asked, TrialFolder(tmp_path).effective))


def test_images_that_changed_since_the_search_began_are_refused(shapes: Path, cache: Cache, tmp_path: Path) -> None:
    images = tmp_path / "images"
    shutil.copytree(shapes, images)
    config = trial_config(images)
    expected = open_data(config.data, config.image, cache=cache).fingerprint
    folder = tmp_path / "trial"
    next((images / "train").rglob("*.jpg")).unlink()
    with pytest.raises(ChangedDataError, match="images have changed since the search began"):
        run(config, folder, cache, expected_data=expected)
    assert "ChangedDataError" in TrialFolder(folder).error.read_text()
    next((images / "train").rglob("*.jpg")).write_bytes(b"x")
    with pytest.raises(ChangedDataError) as unreadable:
        run(config, folder, cache, expected_data=expected)
    assert "the search began with images that could be read" in unreadable.value.faults[-1]
    assert "on_bad: skip" not in str(unreadable.value), "a search that has begun refuses that"
    shutil.rmtree(images)
    with pytest.raises(ChangedDataError, match="the search began with images that could be read"):
        run(config, folder, cache, expected_data=expected)


def test_an_image_that_is_damaged_in_mid_training_does_not_touch_the_trial(
    shapes: Path, cache: Cache, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    shutil.copytree(shapes, images)
    config = with_training(images, epochs=5)  # with a view of its own for each epoch, made when it begins
    whole = run(config, tmp_path / "whole", Cache(tmp_path / "other-cache"))

    def damage(epoch: EpochRecord, *_heard: object) -> None:
        if epoch.epoch == 4:
            for image in (images / "train").rglob("*.jpg"):
                image.write_bytes(image.read_bytes()[:100])

    assert curve(run(config, tmp_path / "struck", cache, on_epoch=damage)) == curve(whole)


def test_from_a_damaged_checkpoint_a_trial_comes_the_same_way_again(shapes: Path, cache: Cache, tmp_path: Path) -> None:
    config = with_training(shapes, epochs=1)
    whole = run(config, tmp_path, cache)
    flip_a_byte(next(TrialFolder(tmp_path).last.glob("*.safetensors")))
    assert curve(run(config, tmp_path, cache)) == curve(whole)
    assert "begins anew" in TrialFolder(tmp_path).log.read_text()


def test_a_saved_model_answers_as_the_trained_one(shapes: Path, cache: Cache, tmp_path: Path) -> None:
    run(trial_config(shapes), tmp_path / "trial", cache)
    images = sorted((shapes / "test").rglob("*.jpg"))
    (tmp_path / "broken.jpg").write_bytes(images[0].read_bytes()[:500])
    predictions = list(predict(tmp_path / "trial" / "best", [*images, tmp_path / "broken.jpg"]))
    assert predictions[-1].error
    assert not predictions[-1].ranking
    (test,) = evaluate_model(tmp_path / "trial" / "best", data_root=None, splits=["test"], cache=cache)
    right = sum(one.ranking[0][0] == one.path.parent.name for one in predictions[:-1])
    assert right == np.trace(test.confusion)
    assert all(sum(share for _, share in one.ranking) == pytest.approx(1) for one in predictions[:-1])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        pytest.param(lambda best: (best / "model.json").unlink(), "no such file; give a model folder", id="no-card"),
        pytest.param(lambda best: (best / "model.json").write_text("{"), "not a model description", id="torn-card"),
        pytest.param(
            lambda best: (best / "model.json").write_text("{}"), "damaged, or changed by hand", id="empty-card"
        ),
        pytest.param(lambda best: (best / "model.safetensors").unlink(), "no such file", id="no-weights"),
        pytest.param(lambda best: flip_a_byte(best / "model.safetensors"), "damaged", id="flipped-byte"),
    ],
)
def test_a_damaged_model_folder_says_what_is_wrong(
    shapes: Path, cache: Cache, tmp_path: Path, damage: Any, says: str
) -> None:
    run(with_training(shapes, epochs=1), tmp_path / "trial", cache)
    best = tmp_path / "trial" / "best"
    damage(best)
    with pytest.raises(RunFolderError, match=says):
        load_model(best)


def flip_a_byte(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def test_class_weights_change_what_is_learned(shapes: Path, cache: Cache, tmp_path: Path) -> None:
    unbalanced = tmp_path / "unbalanced"
    for file in sorted(shapes.rglob("*.jpg")):
        target = unbalanced / file.relative_to(shapes)
        rare = target.parts[-3:-1] == ("train", sorted(path.name for path in (shapes / "train").iterdir())[0])
        if not (rare and file.stem > "001"):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    curves = [
        curve(run(with_training(unbalanced, epochs=1, class_weights=weights), tmp_path / weights, cache))
        for weights in ("none", "balanced")
    ]
    assert curves[0] != curves[1]
