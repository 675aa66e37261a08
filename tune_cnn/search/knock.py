"""Who answers at the address of a cluster: asked before Ray joins it, as Ray tries on for long where it is not let in.

Asked in processes of their own: Ray reads its settings once, and so that a silence can be given up. Two are asked for,
one as ourselves and one as a stranger without a token, whom a cluster that can be reached over a network must refuse.
"""

import ipaddress
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Literal

from ray._private.services import find_bootstrap_address
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # made by Cython
from ray.exceptions import AuthenticationError

from tune_cnn.errors import InputError, SearchError
from tune_cnn.search.auth_token import has_token, token_file

Answer = Literal["welcome", "refused", "silence"]

_SECONDS = 14.0
_SECONDS_TO_CONNECT = 4.0
_REFUSED = 3
_TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def knock(address: str, *, insecure: bool) -> str:
    """Make sure that a cluster answers, lets us in, and keeps strangers out; within 15 seconds.

    Args:
        address: `HOST:PORT`, or `auto` for the cluster that this machine was made part of.
        insecure: whether a cluster will do that lets strangers in.

    Returns:
        `HOST:PORT`.

    Raises:
        SearchError: nobody answers there, or it is no Ray.
        InputError: it refuses our token, or lets in whoever reaches it over the network.
    """
    there = _here(address) if address == "auto" else address
    if "://" in there:
        raise InputError(
            f"--address {there}: a search runs on a machine of the cluster; hand it in with "
            "`ray job submit -- tune-cnn search … --address auto`, see docs/cluster.md"
        )
    until = time.monotonic() + _SECONDS
    host, port = _find(there)
    doubtful = not insecure and not _is_loopback(host)
    ourselves, stranger = _ask(f"{host}:{port}", until, auto=address == "auto", as_stranger=doubtful)
    if ourselves == "refused":
        raise InputError(f"--address {address}: the cluster refuses {_our_token()}")
    if "silence" in (ourselves, stranger):
        raise _nobody(address, f"something listens, but does not answer as Ray does within {_SECONDS:g} s")
    if stranger == "welcome":
        raise InputError(
            f"--address {address}: the cluster asks for no token, so that whoever reaches {host} can run what he likes "
            "on it; start it with RAY_AUTH_MODE=token, or write --insecure-cluster"
        )
    return f"{host}:{port}"


def _here(address: str) -> str:
    """The cluster of this machine: never just any Ray that runs on it, as Ray itself would take.

    Raises:
        SearchError: there is none.
    """
    found = os.environ.get("RAY_ADDRESS") or find_bootstrap_address(None)
    if not found or found == "auto":
        raise _nobody(address, "no cluster was started on this machine")
    return str(found)


def _find(address: str) -> tuple[str, int]:
    """Host and port at which something listens.

    Raises:
        SearchError: nothing does.
    """
    try:
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal():
            raise _nobody(address, "that is not HOST:PORT")
        host = host.strip("[]")
        socket.create_connection((host, int(port)), timeout=_SECONDS_TO_CONNECT).close()
    except (OSError, OverflowError) as error:  # ConnectionError and TimeoutError are kinds of OSError
        raise _nobody(address, f"{type(error).__name__}: {error}") from error
    return host, int(port)


def _nobody(address: str, why: str) -> SearchError:
    return SearchError(
        f"--address {address}: no Ray cluster answers there ({why}); give HOST:PORT as `ray start --head` printed it, "
        "or leave --address out to search on this machine"
    )


def _our_token() -> str:
    """What was refused, and what to do about it; never the token itself."""
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        return "us, as it asks for a token; set RAY_AUTH_MODE=token, with the cluster's token in ~/.ray/auth_token"
    if not has_token():
        return f"us, as there is no token here; copy the cluster's to {token_file()}"
    place = "RAY_AUTH_TOKEN" if os.environ.get("RAY_AUTH_TOKEN") else str(token_file())
    return f"the token in {place}; copy the cluster's there"


def _is_loopback(host: str) -> bool:
    found = {info[4][0] for info in socket.getaddrinfo(host, None)}
    return all(ipaddress.ip_address(str(one).partition("%")[0]).is_loopback for one in found)


def _ask(address: str, until: float, *, auto: bool, as_stranger: bool) -> tuple[Answer, Answer]:
    """What ourselves are answered, and a stranger; where he is not asked for he counts as refused."""
    ours = dict(os.environ)
    if auto and has_token():
        ours.setdefault("RAY_AUTH_MODE", "token")  # as Ray does for the cluster of this machine
    strangers = {name: value for name, value in ours.items() if name not in _TOKENS} | {"RAY_AUTH_MODE": "disabled"}
    asked = [_start(address, environment) for environment in (ours, *([strangers] if as_stranger else []))]
    first, *others = [_answer(process, until) for process in asked]
    return first, others[0] if others else "refused"


def _start(address: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", __name__, address]
    nowhere = subprocess.DEVNULL
    return subprocess.Popen(command, env=environment, stdin=nowhere, stdout=nowhere, stderr=nowhere)  # noqa: S603 - no shell


def _answer(process: subprocess.Popen[bytes], until: float) -> Answer:
    try:
        code = process.wait(max(until - time.monotonic(), 0.0))
    except subprocess.TimeoutExpired:
        return "silence"
    finally:
        process.kill()
        process.wait()
    return "welcome" if code == 0 else "refused" if code == _REFUSED else "silence"


def _say_whether_let_in(address: str) -> int:
    """Ask for a value that is not there; give the exit code of the process that asks."""
    try:
        GcsClient(address=address).internal_kv_get(b"tune-cnn", namespace=b"tune-cnn", timeout=_SECONDS)
    except AuthenticationError:
        return _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(_say_whether_let_in(sys.argv[1]))
