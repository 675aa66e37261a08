"""The real thing, small: `tune-cnn search` with images and results in a storage, against the same search at home."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.storage.conftest import KEYS, S3
from tests.storage.test_fetch import one_image_each
from tune_cnn import cli
from tune_cnn.config import TrialConfig
from tune_cnn.data.cache import Cache
from tune_cnn.results.records import TrialFolder
from tune_cnn.search.recorded import read_recorded
from tune_cnn.trial import run_trial
from tune_cnn.yaml_files import load_model as load_config

SPACE = """\
name: small
data: {kind: folders, root: nowhere, splits: {train: train, val: valid, test: test}}
image: {px: 32}
model: {backbone: test_resnet, weights: none, freeze: {depth: 0.9}, head: {dropout: {range: [0.0, 0.5]}}}
training: {epochs: 2, batch_size: 4, optimizer: {kind: adam, lr: {range: [1e-4, 1e-1], log: true}}}
search: {trials: 2, metric: -val_loss, seed: 4, concurrent: 1, keep: 1, asha: null, finals: null}
"""


class Machine:
    """A working directory and a cache of its own."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        folder.mkdir()
        self.folder = folder
        (folder / "small.yaml").write_text(SPACE)
        self.environment = {**os.environ, **environment, "XDG_CACHE_HOME": str(folder / "cache"), "NO_COLOR": "1"}

    def run(self, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", "from tune_cnn.cli import main; main()", *map(str, arguments)]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="module")
def images(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return one_image_each(shapes, tmp_path_factory.mktemp("few") / "few")


@pytest.fixture(scope="module")
def away(s3_server: S3, images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Machine, str]:
    """A search with images and results in a storage."""
    bucket = s3_server.bucket()
    data = s3_server.upload(images, bucket, "data/few")
    machine = Machine(tmp_path_factory.mktemp("m") / "away", s3_server.environment)
    done = machine.run("search", "small.yaml", "--data", data, "--out", f"s3://{bucket}/runs")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr
    return machine, f"s3://{bucket}/runs/small"


def run_of(machine: Machine, url: str) -> Path:
    return machine.folder / "runs/s3" / url.removeprefix("s3://")


def test_a_trial_of_images_in_a_storage_scores_as_on_the_same_images_at_home(
    away: tuple[Machine, str], images: Path, cache: Cache, tmp_path: Path
) -> None:
    run = run_of(*away)
    table = pd.read_csv(run / "epochs.csv")
    for number in (0, 1):
        config = load_config(run / f"trials/{number:04d}/config.yaml", TrialConfig)
        assert config.data.root.startswith("s3://")
        here = config.model_copy(update={"data": config.data.model_copy(update={"root": str(images)})})
        print_of = read_recorded(run).facts.data
        epochs = run_trial(
            here, TrialFolder(tmp_path / str(number)), metric="-val_loss", cache=cache, expected_data=print_of
        )
        told = table[table["trial"] == number]
        assert told["val_loss"].tolist() == pytest.approx([epoch.scores["val_loss"] for epoch in epochs], abs=0)


@pytest.mark.slow
def test_a_search_in_a_storage_finds_what_the_same_one_at_home_finds(
    away: tuple[Machine, str], images: Path, tmp_path: Path
) -> None:
    home = Machine(tmp_path / "home", {})
    done = home.run("search", "small.yaml", "--data", images)
    assert done.returncode == 0, done.stdout + done.stderr
    at_home, in_storage = (
        pd.read_csv(folder / "leaderboard.csv").drop(columns=["seconds", "peak_memory_mb", "ms_per_image"])
        for folder in (home.folder / "runs/small", run_of(*away))
    )
    pd.testing.assert_frame_equal(in_storage, at_home)
    assert len(in_storage) == 2


@pytest.mark.parametrize("command", ["check", "evaluate", "predict", "predict a run", "train"])
def test_commands_take_images_and_models_from_the_storage(
    away: tuple[Machine, str],
    s3: S3,
    images: Path,
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = run_of(*away)
    image = next(path for path in images.rglob("*") if path.is_file())
    monkeypatch.setenv("XDG_CACHE_HOME", str(away[0].folder / "cache"))
    data = f"{away[1].removesuffix('/runs/small')}/data/few"
    given, said = {
        "check": (["check", str(away[0].folder / "small.yaml"), "--data", data], "small.yaml: fine"),
        "evaluate": (["evaluate", f"{away[1]}/best", "--data", data], "macro_f1"),
        "predict": (["predict", f"{away[1]}/best/", str(image)], image.name),
        "predict a run": (["predict", away[1], str(image)], image.name),
        "train": (
            ["train", str(run / "trials/0000/config.yaml"), "--out", str(tmp_path / "t")],
            "in every score of 2 epochs",
        ),
    }[command]
    cli.app(given, standalone_mode=False)
    assert said in capsys.readouterr().out


def test_the_leaderboard_can_be_read_from_anywhere(away: tuple[Machine, str], s3: S3, tmp_path: Path) -> None:
    cli.app(["leaderboard", away[1], "--csv", str(tmp_path / "rows.csv")], standalone_mode=False)
    there, here = pd.read_csv(tmp_path / "rows.csv"), pd.read_csv(run_of(*away) / "leaderboard.csv")
    pd.testing.assert_series_equal(there["score"], here["score"])
    assert len(there) == 2


def test_no_secret_has_come_into_the_run_or_the_storage(away: tuple[Machine, str], s3: S3) -> None:
    machine, url = away
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    keys = s3.keys(bucket, prefix)
    assert keys >= {"/run.json", "/best/model.safetensors", "/study.db", "/trials/0000/trial.log"}
    objects = [s3.client.get_object(Bucket=bucket, Key=f"{prefix}{key}")["Body"].read() for key in keys]
    files = [path.read_bytes() for path in (machine.folder / "runs").rglob("*") if path.is_file()]
    secret = KEYS["AWS_SECRET_ACCESS_KEY"].encode()
    assert not any(secret in content for content in (*objects, *files))


def test_a_finished_search_is_taken_up_on_a_fresh_machine(
    away: tuple[Machine, str],
    s3: S3,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cli.app(["resume", away[1]], standalone_mode=False)
    told = capsys.readouterr()
    assert "files fetched into runs/s3/" in told.err
    assert "finished" in told.out
    best = tmp_path / "runs/s3" / away[1].removeprefix("s3://") / "best"
    assert json.loads((best / "model.json").read_text())["classes"]


@pytest.mark.slow
def test_a_run_in_a_storage_is_extended_from_another_machine_by_a_changed_space(
    away: tuple[Machine, str], s3_server: S3, tmp_path: Path
) -> None:
    bucket, _, prefix = away[1].removeprefix("s3://").partition("/")
    url = f"{away[1]}-extended"
    for key in s3_server.keys(bucket, f"{prefix}/"):
        s3_server.client.copy_object(
            Bucket=bucket, Key=f"{prefix}-extended/{key}", CopySource={"Bucket": bucket, "Key": f"{prefix}/{key}"}
        )
    machine = Machine(tmp_path / "third", s3_server.environment)
    (machine.folder / "wider.yaml").write_text(SPACE.replace("[0.0, 0.5]", "[0.0, 0.9]"))
    done = machine.run("extend", url, "--trials", "3", "--space", "wider.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 old trials lie within the new space" in done.stdout
    again = machine.run("extend", url, "--trials", "3", "--space", "wider.yaml")
    assert again.returncode == 2
    assert f"{url} asks for 3 trials already" in again.stderr
    shown = machine.run("leaderboard", url, "--json")
    assert len(json.loads(shown.stdout)) == 3
    assert {"space.1.yaml", "trials/0002/config.yaml"} <= s3_server.keys(bucket, f"{prefix}-extended/")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param(["--out", "s3://no-such-bucket-here/runs"], "s3://no-such-bucket-here/runs/small: ", id="out"),
        pytest.param(["--data", "s3://no-such-bucket-here/few"], "s3://no-such-bucket-here/few: ", id="data"),
    ],
)
def test_a_storage_that_cannot_be_used_is_one_clear_line_before_the_first_trial(
    s3: S3,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Path("small.yaml").write_text(SPACE)
    given = options if "--data" in options else ["--data", str(images), *options]
    monkeypatch.setattr(sys, "argv", ["tune-cnn", "search", "small.yaml", *given])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    told = capsys.readouterr().err
    assert told.startswith(said)
    assert "no such bucket" in told
    assert len(told.splitlines()) == 1
    assert not list(tmp_path.glob("runs/**/trials/*"))


def test_a_storage_out_of_reach_is_told_with_the_address(images: Path, tmp_path: Path) -> None:
    nobody = {**KEYS, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_DEFAULT_REGION": "us-east-1"}
    machine = Machine(tmp_path / "machine", nobody)
    done = machine.run("search", "small.yaml", "--data", images, "--out", "s3://bucket/runs")
    assert done.returncode == 2
    assert done.stderr.startswith("s3://bucket/runs/small: cannot be reached: ")
    assert "AWS_ENDPOINT_URL" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in done.stderr
