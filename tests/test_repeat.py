"""`tune-cnn train`: weights found for a config that a user wrote, and a verdict whatever became of the trial."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.conftest import trial_config
from tests.models.conftest import WriteWeights, write_weights
from tests.results.made import epoch, trial
from tests.search.driving import made_space, open_session
from tune_cnn.data.cache import Cache
from tune_cnn.errors import DivergedError, RunFolderError, WeightsError
from tune_cnn.repeat import repeat_trial, verdict
from tune_cnn.results.records import RunFolder
from tune_cnn.search.session import SearchSession
from tune_cnn.trial import run_trial
from tune_cnn.yaml_files import read_yaml, write_yaml

__all__ = ["write_weights"]

BACKBONE = "mobilenetv3_small_050"
DIVERGED = "DivergedError: epoch 3: train_loss nan"


@pytest.mark.parametrize(
    ("before", "now", "failure", "says"),
    [
        pytest.param(
            trial(7, epochs=(epoch(1, 0.5), epoch(2, 0.6))),
            (epoch(1, 0.5), epoch(2, 0.6)),
            "",
            "equal to trial 7 in every score of 2 epochs",
            id="equal",
        ),
        pytest.param(
            trial(7, state="stopped", epochs=(epoch(1, 0.5),)),
            (epoch(1, 0.5), epoch(2, 0.6)),
            "",
            "equal to trial 7 in every score of 1 epochs",
            id="stopped-early",
        ),
        pytest.param(
            trial(7, epochs=(epoch(1, 0.5), epoch(2, 0.6))),
            (epoch(1, 0.5), epoch(2, 0.7)),
            "",
            "not equal to trial 7: at epoch 2 val_accuracy was 0.6, now 0.7",
            id="another-score",
        ),
        pytest.param(
            trial(7, epochs=(epoch(1, 0.5), epoch(2, 0.6))),
            (epoch(1, 0.5),),
            "",
            "not equal to trial 7: it had 2 epochs, now 1",
            id="fewer-epochs",
        ),
        pytest.param(
            trial(7, state="failed", epochs=(epoch(1, 0.5), epoch(2, 0.6)), reason=DIVERGED),
            (epoch(1, 0.5), epoch(2, 0.6)),
            DIVERGED,
            f"equal to trial 7: after 2 epochs it failed alike ({DIVERGED})",
            id="diverged-alike",
        ),
        pytest.param(
            trial(7, state="failed", reason=DIVERGED),
            (),
            DIVERGED,
            f"equal to trial 7: after 0 epochs it failed alike ({DIVERGED})",
            id="diverged-alike-in-the-first-epoch",
        ),
        pytest.param(
            trial(7, state="failed", epochs=(epoch(1, 0.5),), reason=DIVERGED),
            (epoch(1, 0.5), epoch(2, 0.6)),
            "",
            f"not equal to trial 7: it failed with {DIVERGED}, now it went through 2 epochs",
            id="diverged-no-more",
        ),
        pytest.param(
            trial(7, state="failed", epochs=(epoch(1, 0.5),), reason=DIVERGED),
            (epoch(1, 0.5),),
            "DataError: gone",
            f"not equal to trial 7: it failed with {DIVERGED}, now with DataError: gone",
            id="failed-otherwise",
        ),
        pytest.param(
            trial(7, epochs=(epoch(1, 0.5), epoch(2, 0.6))),
            (epoch(1, 0.5),),
            DIVERGED,
            f"not equal to trial 7: it had 2 epochs, now 1, and failed with {DIVERGED}",
            id="diverges-now",
        ),
        pytest.param(trial(7), (epoch(1, 0.5),), "", "trial 7 recorded no epoch to compare with", id="nothing-there"),
    ],
)
def test_the_verdict_says_whether_a_trial_came_out_equal(before: Any, now: Any, failure: str, says: str) -> None:
    assert verdict(before, now, failure) == says


@pytest.fixture
def console() -> Console:
    return Console(file=StringIO(), width=200)


def shown(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_a_diverged_trial_that_diverges_again_came_out_equal(
    shapes: Path, cache: Cache, tmp_path: Path, console: Console
) -> None:
    session = diverging_session(shapes, tmp_path)
    job = session.propose()
    assert job is not None
    with pytest.raises(DivergedError) as first:
        run_trial(job.config, session.run.trial(0), metric="val_accuracy", cache=cache)
    session.on_end(0, f"DivergedError: {first.value}")
    write_yaml(session.run.space, session.space.canonical())
    with pytest.raises(DivergedError, match="a lower training"):
        repeat_trial(session.run.trial(0).config, tmp_path / "out", cache=cache, console=console)
    assert "equal to trial 0: after 0 epochs it failed alike (DivergedError: epoch 1:" in shown(console)


def diverging_session(shapes: Path, folder: Path) -> SearchSession:
    sets = (
        f"data.root={shapes}",
        "data.splits={train: train, val: valid}",
        "image.px=32",
        "model={backbone: resnet18, weights: none}",
        "training={epochs: 2, batch_size: 8, optimizer: {kind: sgd, lr: 1e18}}",
    )
    return open_session(made_space(folder, overrides=sets), RunFolder(folder / "run"))


def test_the_weights_of_a_hand_written_config_are_found(
    shapes: Path, cache: Cache, tmp_path: Path, console: Console, write_weights: WriteWeights
) -> None:
    file = write_weights(BACKBONE, f"weights/{BACKBONE}.safetensors")
    config = written(tmp_path, root="nowhere", weights_file=None)
    places = {"weights_dir": file.parent, "data_root": shapes}
    repeat_trial(config, tmp_path / "out", cache=cache, console=console, **places)
    assert f"weights: --weights: {file}" in shown(console)
    assert "epoch 1:" in shown(console)
    kept = read_yaml(tmp_path / "out/best/config.yaml").tree
    assert (kept["model"]["weights_file"], kept["data"]["root"]) == (str(file), str(shapes))


def test_weights_whose_file_is_gone_are_found_again(
    shapes: Path, cache: Cache, tmp_path: Path, console: Console, write_weights: WriteWeights
) -> None:
    file = write_weights(BACKBONE, f"{BACKBONE}.safetensors")
    config = written(tmp_path, root=str(shapes), weights_file=str(tmp_path / "gone.safetensors"))
    repeat_trial(config, tmp_path / "out", cache=cache, console=console, weights_dir=tmp_path)
    assert f"weights: --weights: {file}" in shown(console)


def test_weights_that_are_there_are_taken_without_asking(
    shapes: Path, cache: Cache, tmp_path: Path, console: Console, write_weights: WriteWeights
) -> None:
    file = write_weights(BACKBONE, "mine.safetensors")
    config = written(tmp_path, root=str(shapes), weights_file=str(file))
    repeat_trial(config, tmp_path / "out", cache=cache, console=console)
    assert "weights:" not in shown(console)


def test_weights_that_cannot_be_had_are_named_before_anything_is_written(
    shapes: Path, cache: Cache, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    config = written(tmp_path, root=str(shapes), weights_file=None)
    with pytest.raises(WeightsError, match="give --weights DIR"):
        repeat_trial(config, tmp_path / "out", cache=cache, console=console)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_in_it_is_not_trained_into(
    shapes: Path, cache: Cache, tmp_path: Path, console: Console
) -> None:
    config = written(tmp_path, root=str(shapes), weights_file=None)
    with pytest.raises(RunFolderError, match="not an empty folder; write --out with a new one"):
        repeat_trial(config, tmp_path, cache=cache, console=console)
    with pytest.raises(RunFolderError, match="not an empty folder"):
        repeat_trial(config, config, cache=cache, console=console)


def written(folder: Path, *, root: str, weights_file: str | None) -> Path:
    model = {"backbone": BACKBONE, "weights": "imagenet", "weights_file": weights_file}
    config = trial_config(Path(root), model=model, training={"epochs": 1, "batch_size": 16})
    write_yaml(folder / "config.yaml", config.model_dump(mode="json"))
    return folder / "config.yaml"
