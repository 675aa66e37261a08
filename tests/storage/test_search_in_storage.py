"""The real thing, small: `tune-cnn search` with images and results in a storage, against the same search at home."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.storage.conftest import KEYS, S3
from tests.storage.test_fetch import one_image_each
from tune_cnn import cli
from tune_cnn.data.cache import Cache

SPACE = """\
name: small
data: {kind: folders, root: nowhere, splits: {train: train, val: valid, test: test}}
image: {px: 32}
model: {backbone: resnet18, weights: none, freeze: {depth: 0.9}, head: {dropout: {range: [0.0, 0.5]}}}
training: {epochs: 2, batch_size: 4, optimizer: {kind: adam, lr: {range: [1e-4, 1e-1], log: true}}}
search: {trials: 2, metric: -val_loss, seed: 4, concurrent: 1, keep: 1, asha: null, finals: null}
"""
TIMES = ["seconds", "peak_memory_mb", "ms_per_image", "data"]


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
def both(s3_server: S3, images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Machine, Machine, str]:
    """A search with everything at home, and the same one with everything in a storage; they do not share a cache."""
    bucket = s3_server.bucket()
    data = s3_server.upload(images, bucket, "data/few")
    out = f"s3://{bucket}/runs"
    home = Machine(tmp_path_factory.mktemp("m") / "home", s3_server.environment)
    away = Machine(tmp_path_factory.mktemp("m") / "away", s3_server.environment)
    for machine, options in ((home, ["--data", images]), (away, ["--data", data, "--out", out])):
        done = machine.run("search", "small.yaml", *options)
        assert done.returncode == 0, done.stdout + done.stderr
    return home, away, f"{out}/small"


def test_a_search_in_a_storage_finds_what_the_same_one_at_home_finds(both: tuple[Machine, Machine, str]) -> None:
    home, away, url = both
    tables = [
        pd.read_csv(folder / "leaderboard.csv").drop(columns=["seconds", "peak_memory_mb", "ms_per_image"])
        for folder in (home.folder / "runs/small", away.folder / "runs/s3" / url.removeprefix("s3://"))
    ]
    pd.testing.assert_frame_equal(*tables)
    assert len(tables[0]) == 2


def test_the_leaderboard_can_be_read_from_anywhere(
    both: tuple[Machine, Machine, str], s3: S3, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    home, _, url = both
    cli.app(["leaderboard", url, "--csv", str(tmp_path / "rows.csv")], standalone_mode=False)
    assert "0.0" in capsys.readouterr().out
    there, here = pd.read_csv(tmp_path / "rows.csv"), pd.read_csv(home.folder / "runs/small/leaderboard.csv")
    pd.testing.assert_series_equal(there["score"], here["score"])


def test_no_secret_has_come_into_the_run_or_the_storage(both: tuple[Machine, Machine, str], s3: S3) -> None:
    _, away, url = both
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    assert s3.keys(bucket, prefix) >= {"/run.json", "/best/model.safetensors", "/study.db", "/trials/0000/trial.log"}
    objects = [
        s3.client.get_object(Bucket=bucket, Key=f"{prefix}{key}")["Body"].read() for key in s3.keys(bucket, prefix)
    ]
    files = [path.read_bytes() for path in (away.folder / "runs").rglob("*") if path.is_file()]
    secret = KEYS["AWS_SECRET_ACCESS_KEY"].encode()
    assert len(objects) > 10
    assert not any(secret in content for content in (*objects, *files))


def test_a_finished_search_is_taken_up_on_a_fresh_machine(
    both: tuple[Machine, Machine, str], s3: S3, tmp_path: Path
) -> None:
    _, _, url = both
    fresh = Machine(tmp_path / "fresh", s3.environment)
    done = fresh.run("resume", url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "files fetched into runs/s3/" in done.stderr
    assert "2 of 2 trials" in done.stdout or "finished" in done.stdout
    best = fresh.folder / "runs/s3" / url.removeprefix("s3://") / "best"
    assert json.loads((best / "model.json").read_text())["classes"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param(["--out", "s3://no-such-bucket-here/runs"], "s3://no-such-bucket-here/runs/small: ", id="out"),
        pytest.param(["--data", "s3://no-such-bucket-here/few"], "s3://no-such-bucket-here/few: ", id="data"),
    ],
)
def test_a_storage_that_cannot_be_used_is_one_clear_line_before_the_first_trial(
    s3: S3, images: Path, tmp_path: Path, options: list[str], said: str
) -> None:
    machine = Machine(tmp_path / "machine", s3.environment)
    shutil.copytree(images, machine.folder / "few")
    done = machine.run("search", "small.yaml", *(options if "--data" in options else ["--data", "few", *options]))
    assert done.returncode == 2
    assert done.stderr.startswith(said)
    assert "no such bucket" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(machine.folder.glob("runs/**/trials/*"))


def test_a_storage_out_of_reach_is_told_with_the_address(images: Path, tmp_path: Path, cache: Cache) -> None:
    machine = Machine(
        tmp_path / "machine", {**KEYS, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_DEFAULT_REGION": "x"}
    )
    done = machine.run("check", "small.yaml", "--data", "s3://bucket/few")
    assert done.returncode == 2
    assert done.stderr.startswith("s3://bucket/few: cannot be reached: ")
    assert "AWS_ENDPOINT_URL" in done.stderr
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in done.stderr
