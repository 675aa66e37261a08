"""`ray up` for real, on loopback: the shipped file for machines of one's own, a search as a job, its results, the end.

Token authentication is on throughout; a Ray that runs beside it is left alone.
"""

import getpass
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from typer.main import get_command

from tests.cluster.loopback import ROOT, Loopback, loopback, missing
from tune_cnn.cli import app
from tune_cnn.cli_start import options_of_commands
from tune_cnn.search.cluster_check import check_cluster
from tune_cnn.yaml_files import read_yaml, write_yaml

pytestmark = [
    pytest.mark.slow,
    pytest.mark.cluster,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(missing()), reason=missing()),
]

SPACE = """\
name: small
data: {kind: folders, root: shapes, splits: {train: train, val: valid}}
image: {px: 32}
model: {backbone: {kind: custom, layers: [{conv: 8, pool: 2}]}, weights: none, head: {dropout: {range: [0.0, 0.5]}}}
training: {epochs: 2, batch_size: 8, optimizer: {kind: adam, lr: 1e-3}}
search: {trials: 2, asha: null}
"""
# Beside another Ray, and with as little of the machine as will do.
APART = (
    "--temp-dir={folder}/ray --min-worker-port=0 --max-worker-port=0 --num-cpus=1 --object-store-memory=80000000 "
    "--dashboard-agent-listen-port={agent} --dashboard-agent-grpc-port={agent_grpc}"
)
BYSTANDER = """\
import sys, ray
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=40,
         object_store_memory=80_000_000, _temp_dir=sys.argv[1])
print("up", flush=True)
sys.stdin.readline()
print("still up", ray.get(ray.remote(lambda: 6 * 7).remote()), flush=True)
"""


def cluster_file(there: Loopback) -> Path:
    """The shipped file, filled in for the machines on loopback, with ports and a temporary folder of their own."""
    tree = read_yaml(ROOT / "cluster-local.yaml").tree
    tree["cluster_name"] = there.folder.name
    tree["provider"] |= {"head_ip": "127.0.0.1", "worker_ips": ["127.0.0.2"]}
    tree["auth"] = {"ssh_user": getpass.getuser(), "ssh_private_key": f"{there.folder}/ssh/user"}
    tree["file_mounts"] = {"~/.ray/auth_token": "~/.ray/auth_token"}
    # All is installed already: hold it against the constraints.
    constraint = f"{sys.executable} -m pip install --quiet --no-deps --constraint {ROOT}/constraints.txt ray"
    tree["setup_commands"] = ["chmod 600 ~/.ray/auth_token", constraint]
    apart = APART.format(folder=there.folder, **there.ports)
    head = f"--node-ip-address=127.0.0.1 --dashboard-port={there.ports['dashboard']} "
    head += f"--ray-client-server-port={there.ports['client']} {apart}"
    # The worker's agent takes other ports than the head's: they are two machines on one.
    worker = f"--node-ip-address=127.0.0.2 {apart.partition('--dashboard-agent')[0]}"
    for name, options in (("head_start_ray_commands", head), ("worker_start_ray_commands", worker)):
        commands = [command.replace("~/tune-cnn/.venv/bin/ray", f"{there.folder}/bin/ray") for command in tree[name]]
        commands = [command.replace(":6379", f":{there.ports['gcs']}") for command in commands]
        commands = [command.replace("--port=6379", f"--port={there.ports['gcs']}") for command in commands]
        tree[name] = [f"{command} {options}" if " start " in command else command for command in commands]
    tree["worker_start_ray_commands"] = tree["worker_start_ray_commands"][1:]  # `ray stop` would end the head, too
    file = there.laptop / "cluster.yaml"
    write_yaml(file, tree)
    return file


@pytest.fixture(scope="module")
def there() -> Iterator[Loopback]:
    with loopback() as laid_out:
        yield laid_out


@pytest.fixture(scope="module")
def cluster(there: Loopback) -> Iterator[Path]:
    """The cluster file of a running cluster of two machines."""
    file = cluster_file(there)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(there.laptop))  # where the token lies
        assert "local" in check_cluster(file, commands=options_of_commands(get_command(app)))
    which = there.run("ssh", f"{getpass.getuser()}@127.0.0.1", "source ~/.bashrc; command -v ray")
    assert which.stdout == f"{there.folder}/bin/ray\n", "the real `ray stop` must not be reached"
    up = there.run("ray", "up", "--yes", "--no-config-cache", file)
    assert up.returncode == 0, up.stdout + up.stderr
    for _ in range(60):
        status = there.run("ray", "status", "--address", there.gcs)
        if "/2.0 CPU" in status.stdout:
            break
        time.sleep(2)
    assert "/2.0 CPU" in status.stdout, status.stdout + status.stderr
    yield file
    there.run("ray", "down", "--yes", file)


def submit(there: Loopback, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    dashboard = f"http://127.0.0.1:{there.ports['dashboard']}"
    return there.run("ray", "job", "submit", "--address", dashboard, "--", *command, seconds=300, **environment)


def test_a_search_goes_from_ray_up_to_a_leaderboard(there: Loopback, cluster: Path) -> None:
    (there.machine / "small.yaml").write_text(SPACE)
    assert there.run("tune-cnn", "sample", "shapes", there.machine / "shapes").returncode == 0
    search = "tune-cnn search ~/small.yaml --data ~/shapes --out ~/runs --address auto"
    job = submit(there, "bash", "-c", search)
    assert job.returncode == 0, job.stdout + job.stderr
    assert "2 trials at a time, each on 1 CPU of 2 CPUs" in job.stdout
    fetched = there.run("ray", "rsync-down", cluster, "~/runs/small/", there.laptop / "small")
    assert fetched.returncode == 0, fetched.stdout + fetched.stderr
    rows = pd.read_csv(there.laptop / "small" / "leaderboard.csv")
    assert list(rows.state) == ["complete", "complete"]
    assert (there.laptop / "small" / "best").exists()


def test_the_token_is_on_the_machines_and_readable_by_its_owner_alone(there: Loopback, cluster: Path) -> None:
    assert cluster.exists()
    there_token, here_token = (home / ".ray" / "auth_token" for home in (there.machine, there.laptop))
    assert there_token.read_text() == here_token.read_text()
    assert there_token.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({"RAY_AUTH_MODE": "disabled"}, id="without-token"),
        pytest.param({"RAY_AUTH_TOKEN": "f" * 64}, id="with-another-token"),
    ],
)
def test_a_stranger_submits_nothing(environment: dict[str, str], there: Loopback, cluster: Path) -> None:
    assert cluster.exists()
    mark = there.machine / "mark"
    assert submit(there, "touch", str(mark), **environment).returncode != 0
    assert not mark.exists()


def test_taking_it_down_ends_it_and_no_other_ray(there: Loopback, cluster: Path) -> None:
    command = [sys.executable, "-c", BYSTANDER, str(there.folder / "by")]
    environment = os.environ | {"HOME": str(there.folder), "RAY_AUTH_MODE": "disabled"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True) as bystander:
        assert bystander.stdout
        assert bystander.stdout.readline() == "up\n"
        assert there.processes()
        down = there.run("ray", "down", "--yes", cluster)
        assert down.returncode == 0, down.stdout + down.stderr
        assert not there.processes()
        assert bystander.communicate("\n", timeout=60)[0] == "still up 42\n"
