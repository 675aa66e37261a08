"""`tune-cnn check-cluster`: what is wrong or open in a cluster file is told with its line, all at once."""

import logging
import re
from importlib import metadata
from pathlib import Path

import pytest
from typer.main import get_command

from tests.cluster.malformed_clusters import MALFORMED_CLUSTERS
from tests.cluster.malformed_jobs import MALFORMED_JOBS
from tests.cluster.shipped import AWS, JOB, LOCAL, ROOT, MalformedCluster, filled_in
from tune_cnn.cli import app
from tune_cnn.cli_start import options_of_commands
from tune_cnn.cluster.commands import PYTHON
from tune_cnn.errors import InputError
from tune_cnn.search.cluster_check import check_cluster

COMMANDS = options_of_commands(get_command(app))
ENTRYPOINT = "tune-cnn search /shared/photos.yaml --data /shared/photos --out /shared/runs --address auto"


@pytest.fixture(autouse=True)
def here(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder and a home, with all that the shipped files copy to the machines."""
    folder = tmp_path_factory.mktemp("here")
    for name in ("dist/tune_cnn-0.1.0-py3-none-any.whl", "constraints.txt", "spaces/photos.yaml", ".ray/auth_token"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    return folder


def faults(tmp_path: Path, text: str) -> list[str]:
    """What the check says of a file of this text, without the file's name."""
    file = tmp_path / "c.yaml"
    file.write_text(text)
    try:
        check_cluster(file, commands=COMMANDS)
    except InputError as error:
        return [fault.removeprefix(f"{file}:") for fault in error.faults]
    return []


@pytest.mark.parametrize("case", [*MALFORMED_CLUSTERS, *MALFORMED_JOBS], ids=lambda case: case.id)
def test_one_thing_wrong_is_told_with_its_line_and_nothing_else(case: MalformedCluster, tmp_path: Path) -> None:
    found = faults(tmp_path, case.text)
    assert len(found) == case.faults, found
    (line,) = (int(fault.partition(": ")[0]) for fault in found if case.says in fault)
    assert case.line in (None, line)


@pytest.mark.parametrize("kind", [AWS, LOCAL, JOB])
def test_a_shipped_file_is_refused_until_it_is_filled_in(kind: str, tmp_path: Path) -> None:
    still_open = faults(tmp_path, (ROOT / kind).read_text())
    assert len(still_open) == sum("FILL-IN" in line for line in (ROOT / kind).read_text().splitlines()[5:])
    assert all("is still to be filled in" in fault for fault in still_open)
    assert faults(tmp_path, filled_in(kind)) == []


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        pytest.param(AWS, "RAY_AUTH_MODE=token ~", "export RAY_AUTH_MODE=token && ~", id="an-exported-mode"),
        pytest.param(AWS, "--dashboard-host=127.0.0.1 ", "--dashboard-host='127.0.0.1' ", id="a-quoted-address"),
        pytest.param(AWS, "mkdir -p ~/runs", "HF_TOKEN=$(cat ~/.hf) KEY_TOKEN=$T true", id="a-secret-read-elsewhere"),
        pytest.param(LOCAL, "[gpu2.example.org]", "[]", id="one-machine-alone"),
        pytest.param(LOCAL, "idle_timeout", "min_workers: 0\nidle_timeout", id="machines-that-are-left-alone"),
        pytest.param(AWS, "m7i.xlarge  ", "g4ad.xlarge  ", id="x86-with-a-g-for-its-graphics"),
        pytest.param(JOB, "tune-cnn search", "echo --x && exec /bin/tune-cnn search", id="an-entrypoint-in-shell"),
        pytest.param(JOB, "--address auto", "--address $A; echo --x", id="what-follows-the-search"),
        pytest.param(
            JOB,
            "tune-cnn search /shared/photos.yaml --data",
            "|\n    tune-cnn search /shared/photos.yaml \\\n      --data",
            id="a-line-that-goes-on",
        ),
        pytest.param(JOB, ENTRYPOINT, f"|\n    cd /shared\n    {ENTRYPOINT}\n    ls --x", id="several-lines"),
        pytest.param(JOB, "tune-cnn search", "python search.py --x", id="a-program-of-ones-own"),
        pytest.param(JOB, ":0.1.0-ray2.60.0-py311", f"@sha256:{'0' * 64}", id="an-image-by-digest"),
    ],
)
def test_what_is_right_in_other_words_is_taken(kind: str, old: str, new: str, tmp_path: Path) -> None:
    good = filled_in(kind)
    assert old in good
    assert faults(tmp_path, good.replace(old, new)) == []


@pytest.mark.parametrize("kind", [AWS, LOCAL])
def test_nothing_is_said_of_a_file_in_which_nothing_is_wrong(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("ray"), "propagate", True)  # to where pytest listens
    with caplog.at_level("DEBUG"):
        assert faults(tmp_path, filled_in(kind)) == []
    assert not [record for record in caplog.records if record.name.startswith("ray")]


def test_every_fault_is_told_at_once_in_the_file_s_order(tmp_path: Path) -> None:
    text = filled_in(AWS)
    changes = [
        ("203.0.113.7/32", "0.0.0.0/0"),
        ("cache_stopped_nodes: false", "cache_stopped_nodes: true"),
        ("Encrypted: true", "Encrypted: false"),
        ("MarketType: spot", "MarketType: x"),
        ("--dashboard-host=127.0.0.1 --", "--dashboard-host=0.0.0.0 --"),
    ]
    for old, new in changes:
        text = text.replace(old, new, 1)
    lines = [int(fault.partition(":")[0]) for fault in faults(tmp_path, text)]
    assert len(lines) == 5
    assert lines == sorted(lines)


# A letter less; names that stand in lists of machines or pods are beyond what Ray's schema and KubeRay's rules know.
NAMES = [
    *((AWS, name) for name in ("cluster_name", "provider", "auth", "ssh_user", "head_node_type", "ImageId")),
    *((AWS, name) for name in ("metadata", "available_node_types", "file_mounts", "setup_commands", "IamInstancePr")),
    *((LOCAL, name) for name in ("ssh_private_key", "worker_start_ray_commands")),
    *((JOB, name) for name in ("kind", "spec", "entrypoint", "rayClusterSpec", "workerGroupSpecs", "headGroupSpec")),
    *((JOB, name) for name in ("maxReplicas", "rayVersion", "authOptions", "autoscalerOptions")),
]


@pytest.mark.parametrize(("kind", "name"), NAMES)
def test_a_misspelt_name_is_told_once_and_not_as_missing_too(kind: str, name: str, tmp_path: Path) -> None:
    good = filled_in(kind)
    at = re.search(rf"^ *{name}", good, re.MULTILINE)
    assert at is not None
    bad = good[: at.end() - 2] + good[at.end() - 1 :]
    (fault,) = faults(tmp_path, bad)
    assert f"did you mean '{name}" in fault
    assert fault.startswith(f"{good.count(chr(10), 0, at.start()) + 1}: ")


def test_what_is_missing_beside_a_misspelt_name_is_still_told(tmp_path: Path) -> None:
    text = filled_in(AWS).replace("ssh_user:", "ssh_usr:").replace("\n  region: eu-central-1", "\n  #")
    found = faults(tmp_path, text)
    assert ["did you mean 'ssh_user'?" in fault for fault in found] == [False, True]
    assert "provider.region: missing" in found[0]


def test_a_search_space_is_told_from_a_cluster_file_in_a_line(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, (ROOT / "spaces" / "quickstart.yaml").read_text())
    assert fault == (
        "1: this is a search space, not a cluster file; look it over with "
        f"`tune-cnn check {tmp_path / 'c.yaml'}`"
    )  # fmt: skip


def test_the_shipped_files_are_refused_where_what_they_copy_is_not(here: Path, tmp_path: Path) -> None:
    (here / ".ray" / "auth_token").unlink()
    (here / "dist" / "tune_cnn-0.1.0-py3-none-any.whl").unlink()
    for kind in (AWS, LOCAL):
        no_wheel, no_token = faults(tmp_path, filled_in(kind))
        assert no_wheel.endswith("dist: holds no tune_cnn-*.whl, which setup_commands installs; `make dist` makes it")
        assert no_token.endswith("~/.ray/auth_token: no such file or folder; `ray get-auth-token --generate` makes it")


def test_a_secret_is_not_repeated(tmp_path: Path) -> None:
    text = filled_in(AWS).replace("RAY_AUTH_MODE=token ~", "RAY_AUTH_TOKEN=hushhush RAY_AUTH_MODE=token ~")
    (fault, *_) = faults(tmp_path, text)
    assert "hushhush" not in fault


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("", "write at least cluster_name and provider", id="empty"),
        pytest.param("- a\n", "not a cluster file", id="a-list"),
        pytest.param("a: &a [*a, *a]\n", "has no anchor before it", id="an-alias-of-itself"),
        pytest.param("a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
            f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcde", "bcdef", strict=True)
        ), "aliases written out", id="an-alias-bomb"),
    ],
)  # fmt: skip
def test_what_is_no_cluster_file_at_all_is_refused(text: str, says: str, tmp_path: Path) -> None:
    assert any(says in fault for fault in faults(tmp_path, text))


def test_the_versions_asked_for_are_those_of_the_constraints() -> None:
    pins = dict(re.findall(r"^(\S+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert metadata.version("ray") == pins["ray"]
    assert f"ray{pins['ray']}-py{PYTHON.replace('.', '')}" in filled_in(JOB)
    assert f"rayproject/ray:{pins['ray']}-py{PYTHON.replace('.', '')}" in (ROOT / "kubernetes/Dockerfile").read_text()
