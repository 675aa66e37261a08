"""Before a search joins a cluster: is anybody there, does it know us, and does it keep strangers out?"""

import http.server
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from tests.cluster.loopback import end_processes, free_ports
from tune_cnn.errors import InputError, SearchError
from tune_cnn.search.auth_token import has_token, keep_private, make_token, token_file
from tune_cnn.search.knock import knock


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without a token, and an environment that says nothing of any Ray."""
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("address", "says"),
    [
        pytest.param("127.0.0.1:1", "no Ray cluster answers there (ConnectionRefusedError", id="nobody-listens"),
        pytest.param("no-such-host.invalid:6379", "no Ray cluster answers there (gaierror", id="no-such-host"),
        pytest.param("localhost", "that is not HOST:PORT", id="no-port"),
        pytest.param("host:99999", "no Ray cluster answers there", id="no-such-port"),
    ],
)
def test_an_address_that_cannot_be_reached_is_one_clear_error(address: str, says: str) -> None:
    with pytest.raises(SearchError) as raised:
        knock(address, insecure=False)
    assert str(raised.value).startswith(f"--address {address}: ")
    assert says in str(raised.value)


def test_auto_is_the_cluster_of_this_machine_and_never_just_any_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(SearchError, match=r"--address 127\.0\.0\.1:1: no Ray cluster answers there"):
        knock("auto", insecure=False)


def test_a_search_is_handed_in_and_not_driven_from_afar() -> None:
    with pytest.raises(InputError, match="ray job submit -- tune-cnn search"):
        knock("ray://head:10001", insecure=False)


def test_a_token_is_made_once_and_for_its_owner_alone(home: Path) -> None:
    assert not has_token()
    make_token()
    made = token_file().read_text()
    make_token()
    assert (len(made), token_file().read_text()) == (64, made)
    assert token_file() == home / ".ray" / "auth_token"
    assert token_file().stat().st_mode & 0o777 == 0o600
    assert list(token_file().parent.iterdir()) == [token_file()]


def test_a_token_that_others_can_read_is_taken_from_them() -> None:
    token_file().parent.mkdir()
    token_file().write_text("as Ray makes it")
    token_file().chmod(0o644)
    keep_private()
    assert token_file().stat().st_mode & 0o777 == 0o600


def test_no_token_is_made_for_who_wants_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    make_token()
    assert not token_file().exists()


# --- with a real head -----------------------------------------------------------------------------------------------


@contextmanager
def head(mode: str) -> Iterator[tuple[str, str]]:
    """A head of one core; its address, and its token."""
    folder, (port,) = Path(tempfile.mkdtemp(prefix="tc-")), free_ports("gcs").values()
    (folder / ".ray").mkdir()
    token = folder / ".ray" / "auth_token"
    token.write_text(secrets.token_hex(32))
    where = f"--port={port} --node-ip-address=127.0.0.1 --temp-dir={folder}/ray --include-dashboard=false"
    small = "--num-cpus=1 --object-store-memory=80000000 --min-worker-port=0 --max-worker-port=0 --disable-usage-stats"
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", *where.split(), *small.split()]
    environment = os.environ | {"HOME": str(folder), "RAY_AUTH_MODE": mode}
    try:
        subprocess.run(command, env=environment, check=True, capture_output=True)
        yield f"127.0.0.1:{port}", token.read_text()
    finally:
        end_processes(folder)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def closed() -> Iterator[tuple[str, str]]:
    with head("token") as answers:
        yield answers


@pytest.fixture(scope="module")
def open_to_all() -> Iterator[tuple[str, str]]:
    with head("disabled") as answers:
        yield answers


def over_the_network(address: str) -> str:
    """The same head by the name that other machines know this one by: Ray listens on all of them."""
    from ray.util import get_node_ip_address

    return address.replace("127.0.0.1", get_node_ip_address())


class TestWithARealHead:
    """Marked slow, and part of what `make test-cluster` runs."""

    pytestmark: ClassVar = [pytest.mark.slow, pytest.mark.cluster]

    def test_who_has_the_token_is_let_in(self, closed: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        address, token = closed
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        monkeypatch.setenv("RAY_AUTH_TOKEN", token)
        assert knock(address, insecure=False) == address
        assert knock(over_the_network(address), insecure=False)

    def test_a_wrong_token_is_one_clear_error(self, closed: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        monkeypatch.setenv("RAY_AUTH_TOKEN", "f" * 64)
        with pytest.raises(InputError, match="the cluster refuses the token in RAY_AUTH_TOKEN") as raised:
            knock(closed[0], insecure=True)
        assert "ffff" not in str(raised.value)

    def test_no_token_is_one_clear_error(self, closed: tuple[str, str]) -> None:
        with pytest.raises(InputError, match="set RAY_AUTH_MODE=token"):
            knock(closed[0], insecure=False)

    def test_a_cluster_that_lets_strangers_in_is_refused_unless_asked_for(self, open_to_all: tuple[str, str]) -> None:
        address = over_the_network(open_to_all[0])
        with pytest.raises(InputError, match="write --insecure-cluster"):
            knock(address, insecure=False)
        assert knock(address, insecure=True) == address
        assert knock(open_to_all[0], insecure=False)

    def test_what_is_no_ray_is_given_up(self) -> None:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with pytest.raises(SearchError, match="does not answer as Ray does"):
                knock(f"127.0.0.1:{server.server_port}", insecure=False)
        finally:
            server.shutdown()
            server.server_close()
