"""A search on two machines that share nothing but a storage: two Rays on this host, one of them under another name."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.cluster.loopback import ROOT, end_processes, free_ports
from tests.storage.conftest import S3
from tests.storage.test_fetch import one_image_each
from tune_cnn.models.saved import load_model
from tune_cnn.storage.place import machine_id

SPACE = """\
name: small
data: {kind: folders, root: nowhere, splits: {train: train, val: valid, test: test}}
image: {px: 32}
model: {backbone: resnet18, weights: none, freeze: {depth: 0.9}, head: {dropout: {range: [0.0, 0.5]}}}
training: {epochs: 3, batch_size: 4, optimizer: {kind: adam, lr: {range: [1e-4, 1e-1], log: true}}}
search: {trials: 4, metric: -val_loss, seed: 4, keep: 4, asha: null, finals: null}
"""


def renamed() -> bool:
    """Whether a process may be given another host name: a right of its own."""
    unshare = shutil.which("unshare")
    command = [unshare or "unshare", "--uts", "hostname", "other-machine"]
    return bool(unshare) and subprocess.run(command, capture_output=True, check=False).returncode == 0


pytestmark = [
    pytest.mark.slow,
    pytest.mark.cluster,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not renamed(), reason="no right to `unshare --uts`"),
]


class Two:
    """Two machines in a folder of their own."""

    def __init__(self, folder: Path, s3: S3) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            **s3.environment,
            "PYTHONPATH": str(ROOT),
            "HOME": str(folder),
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
            "NO_COLOR": "1",
        }
        self.address = f"127.0.0.1:{free_ports('gcs')['gcs']}"

    def start(self) -> None:
        ray = str(Path(sys.executable).with_name("ray"))
        apart = ["--num-cpus=1", "--object-store-memory=80000000", "--min-worker-port=0", "--max-worker-port=0"]
        port = self.address.rpartition(":")[2]
        head = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={self.folder}/ray"]
        self.run(ray, "start", "--node-ip-address=127.0.0.1", *head, *apart)
        joins = f"hostname other-machine && exec {ray} start --node-ip-address=127.0.0.1 --address={self.address}"
        self.run("unshare", "--uts", "sh", "-c", " ".join([joins, *apart]))

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def tune_cnn(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return self.run(sys.executable, "-c", "from tune_cnn.cli import main; main()", *arguments)


@pytest.fixture
def two(s3_server: S3) -> Iterator[Two]:
    with tempfile.TemporaryDirectory(prefix="tc2-") as folder:  # a short name: paths of sockets end at 107 letters
        there = Two(Path(folder), s3_server)
        try:
            there.start()
            yield there
        finally:
            end_processes(Path(folder))


def test_trials_of_both_machines_come_together_in_the_storage(two: Two, s3_server: S3, shapes: Path) -> None:
    bucket = s3_server.bucket()
    data = s3_server.upload(one_image_each(shapes, two.folder / "few"), bucket, "data")
    (two.folder / "small.yaml").write_text(SPACE)
    out = ["--out", f"s3://{bucket}/runs", "--address", two.address, "--insecure-cluster"]
    two.tune_cnn("search", "small.yaml", "--data", data, *out)
    run = two.folder / "runs/s3" / bucket / "runs/small"
    table = pd.read_csv(run / "leaderboard.csv")
    assert table["state"].tolist() == ["complete"] * 4
    assert table["test_accuracy"].notna().all()  # the weights of all came home
    for number in range(4):
        load_model(run / f"trials/{number:04d}/best")
    assert list((two.folder / ".cache/tune-cnn/trials").glob("*/trials-*")), "no trial ran on the other machine"
    assert (run / "best").resolve() == (run / f"trials/{table['trial'][0]:04d}/best").resolve()
    assert "other-machine" not in machine_id()
    keys = s3_server.keys(bucket, "runs/small/")
    assert {f"trials/{number:04d}/trial.log" for number in range(4)} <= keys
    assert not [key for key in keys if "/last/" in key]


def test_a_trial_that_is_stopped_on_another_machine_leaves_its_best_model(
    two: Two, s3_server: S3, shapes: Path
) -> None:
    bucket = s3_server.bucket()
    data = s3_server.upload(one_image_each(shapes, two.folder / "few"), bucket, "data")
    asha = SPACE.replace("asha: null", "asha: {grace_epochs: 2, reduction: 2}").replace("epochs: 3", "epochs: 8")
    (two.folder / "small.yaml").write_text(asha.replace("trials: 4", "trials: 8").replace("keep: 4", "keep: 8"))
    out = ["--out", f"s3://{bucket}/runs", "--address", two.address, "--insecure-cluster"]
    two.tune_cnn("search", "small.yaml", "--data", data, *out)
    run = two.folder / "runs/s3" / bucket / "runs/small"
    table = pd.read_csv(run / "leaderboard.csv").set_index("trial")
    away = {int(path.name.rpartition("-")[2]) for path in (two.folder / ".cache/tune-cnn/trials").glob("*/trials-*")}
    assert (table.loc[sorted(away), "state"] == "stopped").any() or (table["state"] == "stopped").any()
    for trial, best_epoch in table["best_epoch"].items():
        card = json.loads((run / f"trials/{trial:04d}/best/model.json").read_text())
        assert card["epoch"] == best_epoch, (trial, sorted(away))
