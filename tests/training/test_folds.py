"""Cross-validation of a tiny network: folds side by side, their mean, and going on after a kill."""

import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import trial_config
from tests.data.test_dataset import open_folders
from tests.data.test_groups import videos
from tests.results.made import epoch
from tune_cnn.config import TrialConfig
from tune_cnn.data.cache import Cache
from tune_cnn.data.dataset import open_data
from tune_cnn.data.folds import fold_data
from tune_cnn.errors import DataError
from tune_cnn.evaluation import evaluate_model
from tune_cnn.results.records import EpochRecord, TrialFolder
from tune_cnn.training.folds import mean_record
from tune_cnn.trial import run_trial

TINY = {"backbone": {"kind": "custom", "layers": [{"conv": 8, "pool": 4}, {"conv": 8, "pool": 4}]}}


def config_of(shapes: Path, **sections: Any) -> TrialConfig:
    training = {"epochs": 3, "batch_size": 8, "optimizer": {"kind": "adam", "lr": 0.02}, **sections.pop("training", {})}
    return trial_config(shapes, model=TINY, training=training, folds=3, **sections)


def run(config: TrialConfig, folder: Path, cache: Cache, **options: Any) -> list[EpochRecord]:
    return run_trial(config, TrialFolder(folder), metric="val_accuracy", cache=cache, **options)


@pytest.fixture(scope="module")
def trained(shapes: Path, cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[EpochRecord]]:
    folder = tmp_path_factory.mktemp("folds")
    return folder, run(config_of(shapes), folder, cache)


def test_every_image_is_validated_on_once_and_the_test_split_stays(shapes: Path, cache: Cache) -> None:
    config = config_of(shapes)
    data = open_data(config.data, config.image, cache=cache)
    parts = fold_data(data, 3, seed=0)
    pool = sorted(data.splits["train"].paths + data.splits["val"].paths)
    assert sorted(path for part in parts for path in part.splits["val"].paths) == pool
    for part in parts:
        train, val = part.splits["train"], part.splits["val"]
        assert not set(train.paths) & set(val.paths)
        assert part.splits["test"].paths == data.splits["test"].paths
        assert (val.per_class(5) == 3).all()
        place = data.splits["train"].paths.index(train.paths[0])
        assert np.array_equal(train.images[0], data.splits["train"].images[place])


def test_a_group_is_never_trained_and_validated_on_at_once(tmp_path: Path) -> None:
    root = videos(tmp_path / "set", images=2)
    data = open_folders(root, tmp_path / "cache", val=0.25, group={"pattern": "[a-z]+[0-9]"})
    for part in fold_data(data, 3, seed=0):
        train, val = ({path.split("_")[0] for path in part.splits[name].paths} for name in ("train", "val"))
        assert (len(train), len(val), train & val) == (8, 4, set())


def test_a_class_that_no_fold_could_be_trained_on_is_told(shapes: Path, cache: Cache) -> None:
    config = config_of(shapes)
    data = open_data(config.data, config.image, cache=cache)
    train, val = data.splits["train"], data.splits["val"]
    lone = np.array([label != 0 or number == 0 for number, label in enumerate(train.labels)])
    cut = {**data.splits, "train": train.picked(lone), "val": val.picked(val.labels != 0)}
    with pytest.raises(DataError, match="cannot be trained on 'crescent'"):
        fold_data(type(data)(**{**vars(data), "splits": cut}), 3, seed=0)


def test_scores_are_the_means_of_the_folds_and_every_single_one_is_kept(
    trained: tuple[Path, list[EpochRecord]],
) -> None:
    _, history = trained
    assert len(history) == 3
    for record in history:
        folds = [record.scores[f"val_accuracy_fold_{number}"] for number in (1, 2, 3)]
        assert record.score == record.scores["val_accuracy"] == pytest.approx(statistics.fmean(folds))
        assert record.scores["val_accuracy_std"] == pytest.approx(statistics.stdev(folds))


def test_the_kept_model_is_the_first_folds_and_scores_as_told(
    trained: tuple[Path, list[EpochRecord]], cache: Cache
) -> None:
    folder, history = trained
    (val,) = evaluate_model(folder / "best", data_root=None, splits=["val"], cache=cache)
    best = max(history, key=lambda record: (record.score, -record.epoch))
    assert val.images == 15
    assert val.scores["accuracy"] == best.scores["val_accuracy_fold_1"]
    assert val.scores["loss"] == pytest.approx(best.scores["val_loss_fold_1"], abs=1e-6)


def test_folds_go_on_where_they_were_even_if_a_kill_left_them_an_epoch_apart(
    trained: tuple[Path, list[EpochRecord]], shapes: Path, cache: Cache, tmp_path: Path
) -> None:
    _, whole = trained

    class KilledError(Exception):
        pass

    def kill(record: EpochRecord, *_rest: object) -> None:
        if record.epoch == 2:
            raise KilledError

    with pytest.raises(KilledError):
        run(config_of(shapes), tmp_path / "cut", cache, on_epoch=kill)
    # As if the kill had come before the last fold's second checkpoint was written.
    short = config_of(shapes, training={"epochs": 3})
    last = TrialFolder(tmp_path / "cut").last
    first_epoch = tmp_path / "first"

    def stop(*_heard: object) -> None:
        raise KilledError

    with pytest.raises(KilledError):
        run(short, first_epoch, cache, on_epoch=stop)
    for file in (last / "fold-3").iterdir():
        file.unlink()
    for file in (TrialFolder(first_epoch).last / "fold-3").iterdir():
        (last / "fold-3" / file.name).write_bytes(file.read_bytes())
    again = run(config_of(shapes), tmp_path / "cut", cache)
    assert [record.scores for record in again] == [record.scores for record in whole]


def test_folds_are_stopped_by_their_mean_alone(shapes: Path, cache: Cache, tmp_path: Path) -> None:
    training = {"epochs": 6, "stop_patience_epochs": 1, "optimizer": {"kind": "sgd", "lr": 1e-9}}
    history = run(config_of(shapes, training=training), tmp_path, cache)
    assert len(history) == 2, "nothing is learned: the second epoch ends it"


@pytest.mark.parametrize("killed_after", [None, 2], ids=["in-one-go", "going-on-after-a-kill"])
def test_the_warm_up_of_folds_does_not_count_against_their_patience(
    killed_after: int | None, shapes: Path, cache: Cache, tmp_path: Path
) -> None:
    still = {"epochs": 6, "stop_patience_epochs": 1, "optimizer": {"kind": "sgd", "lr": 1e-9}}
    config = config_of(shapes, training={**still, "warm_up": {"epochs": 3}})

    class KilledError(Exception):
        pass

    def kill(record: EpochRecord, *_rest: object) -> None:
        if record.epoch == killed_after:
            raise KilledError

    if killed_after:
        with pytest.raises(KilledError):
            run(config, tmp_path, cache, on_epoch=kill)
    history = run(config, tmp_path, cache)
    assert [record.phase for record in history] == ["warm_up", "warm_up", "warm_up", "train"]


def test_a_score_that_no_fold_has_is_nan_with_its_spread() -> None:
    nan = float("nan")
    mean = mean_record([epoch(1, 0.5, val_f1=nan), epoch(1, 0.7, val_f1=0.1)])
    assert np.isnan([mean.scores["val_f1"], mean.scores["val_f1_std"]]).all()
    assert mean.scores["val_accuracy_std"] == pytest.approx(statistics.stdev([0.5, 0.7]))


def test_a_single_record_is_given_as_it_is() -> None:
    record = epoch(1, 0.5)
    assert mean_record([record]) is record
