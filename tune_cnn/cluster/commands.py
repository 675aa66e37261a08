"""The shell commands of a `ray up` file: which Ray and Python they install, and how open they start it."""

import re
from collections.abc import Iterator

from tune_cnn.cluster.mounts import check_mounts
from tune_cnn.cluster.report import Report
from tune_cnn.config_faults import shown
from tune_cnn.config_shape import Location

PYTHON = "3.11"
"""What constraints.txt was made with."""

_SETUP = ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands")
_NIGHTLY = re.compile(r"ray-wheels/|\bdev0\b|\bray\S*nightly|--pre\b")
_PINNED_RAY = re.compile(r"\bray(?:\[[^\]]*\])?==\s*([0-9][\w.]*)")
_LOOSE_RAY = re.compile(r"\bpip3?\s+install\b(?:(?!&&|;).)*?[\s\"']ray(?:\[[^\]]*\])?(?:[\"'\s<>~]|$)")
_PYTHON = re.compile(r"\bpython(3\.[0-9]+)\b|(?:--python|python=+)\s*(3\.[0-9]+)\b|\bpy(3[0-9]{1,2})\b")
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_START = re.compile(r"\bray\s+start\b")
_MODE = re.compile(r"\bRAY_AUTH_MODE=[\"']?(\w*)")
_DASHBOARD = re.compile(r"--dashboard-host[=\s]+[\"']?([^\s\"']+)")
_SEPARATOR = re.compile(r"&&|\|\||[;|\n]")
_COMMENT = re.compile(r"(^|\s)#.*")


def check_commands(report: Report, *, ray_version: str) -> None:
    """Note what the commands install and start that differs from here, or is open to others.

    Args:
        report: a file of `ray up`.
        ray_version: the one that is installed here, which constraints.txt pins.
    """
    for location, command in _commands(report, *_SETUP):
        _check_versions(report, location, command, ray_version)
    _check_pin(report, ray_version)
    _check_starts(report, "head_start_ray_commands", head=True)
    if report.section("provider").get("type") != "local" or report.items("provider", "worker_ips"):
        _check_starts(report, "worker_start_ray_commands", head=False)
    check_mounts(report)
    _check_docker(report, ray_version)


def _check_docker(report: Report, ray_version: str) -> None:
    """An image brings a Ray of its own."""
    for name in ("image", "head_image", "worker_image"):
        image = report.section("docker").get(name)
        if isinstance(image, str) and ray_version not in image and "@sha256:" not in image:
            example = f"an image with {ray_version} in its tag, or a digest"
            report.fault(
                ("docker", name), f"{shown(image)} does not say that it holds Ray {ray_version}; write {example}"
            )


def _commands(report: Report, *names: str) -> Iterator[tuple[Location, str]]:
    """Every command in these lists, the node types' own too, with its place."""
    node_types = [("available_node_types", node_type) for node_type in report.section("available_node_types")]
    for prefix in ((), *node_types):
        for name in names:
            for position, command in enumerate(report.items(*prefix, name)):
                if isinstance(command, str):
                    yield (*prefix, name, position), command


def _check_versions(report: Report, location: Location, command: str, ray_version: str) -> None:
    if _NIGHTLY.search(command):
        report.fault(location, f"installs a nightly build of Ray; write ray[default]=={ray_version}")
    elif _LOOSE_RAY.search(command) and "--constraint" not in command and " -c " not in command:
        report.fault(location, f"installs whatever Ray is newest; write ray[default]=={ray_version}")
    for found in _PINNED_RAY.findall(command):
        if found != ray_version:
            report.fault(location, f"installs Ray {found}, constraints.txt has {ray_version}; write ray=={ray_version}")
    for groups in _PYTHON.findall(command):
        found = next(group for group in groups if group)
        found = found if "." in found else f"{found[0]}.{found[1:]}"
        if found != PYTHON:
            report.fault(location, f"uses Python {found}, constraints.txt was made with {PYTHON}; write python{PYTHON}")


def _check_pin(report: Report, ray_version: str) -> None:
    """Somewhere the version of Ray has to be settled; AWS's default for a missing list is a nightly build."""
    texts = [command for _, command in _commands(report, *_SETUP)]
    image = str(report.section("docker").get("image", ""))
    pinned = any("constraints.txt" in text or _PINNED_RAY.search(text) for text in texts)
    if not pinned and ray_version not in image:
        stands = "nothing here settles Ray's version" if "setup_commands" in report.section() else "missing"
        text = f"{stands}; write a command with pip install --constraint constraints.txt, or ray=={ray_version}"
        report.fault(("setup_commands",), text)


def _check_starts(report: Report, name: str, *, head: bool) -> None:
    starts = [(location, command) for location, command in _commands(report, name) if _START.search(command)]
    if not starts:
        default = "Ray's default has no token" if report.value(name) is None else "no command starts Ray"
        options = "--head --port=6379" if head else "--address=$RAY_HEAD_IP:6379"
        report.fault((name,), f"{default}; write RAY_AUTH_MODE=token ray start {options}")
    for location, command in starts:
        _check_token(report, location, command)
        _check_address(report, location, command, head=head)
        for host in _DASHBOARD.findall(command):
            if host not in _LOOPBACK:
                text = (
                    f"the dashboard answers at {shown(host)}; write --dashboard-host=127.0.0.1 and use `ray dashboard`"
                )
                report.fault(location, text)


def _check_token(report: Report, location: Location, command: str) -> None:
    mode = _mode_at_start(command)
    if mode is None:
        text = "starts Ray without token authentication; write RAY_AUTH_MODE=token right before ray start"
        report.fault(location, text)
    elif mode != "token":
        report.fault(location, f"RAY_AUTH_MODE={mode} switches authentication off; write RAY_AUTH_MODE=token")


def _mode_at_start(command: str) -> str | None:
    """What RAY_AUTH_MODE is where a command starts Ray; None where Ray would not see any.

    `A=b; program` sets what the program never sees: it has to stand right before the program, or be exported.
    """
    exported = None
    for part in _SEPARATOR.split(_COMMENT.sub("", command)):
        start = _START.search(part)
        modes = _MODE.findall(part[: start.start()] if start else part)
        if start:
            return modes[-1] if modes else exported
        if modes and part.split()[0] == "export":
            exported = modes[-1]
    return None


def _check_address(report: Report, location: Location, command: str, *, head: bool) -> None:
    if head:
        if "--head" not in command:
            report.fault(location, "starts no head; write ray start --head")
        if "--autoscaling-config" not in command:
            wanted = "--autoscaling-config=~/ray_bootstrap_config.yaml"
            report.fault(location, f"no workers would ever be started; write ray start --head {wanted}")
    elif "$RAY_HEAD_IP" not in command:
        report.fault(location, "does not join the head; write ray start --address=$RAY_HEAD_IP:6379")
    elif (port := re.search(r"\$RAY_HEAD_IP:([0-9]+)", command)) and port[1] != (wanted := _head_port(report)):
        report.fault(location, f"looks for the head at port {port[1]}; write --address=$RAY_HEAD_IP:{wanted}")


def _head_port(report: Report) -> str:
    for _, command in _commands(report, "head_start_ray_commands"):
        if found := re.search(r"--port[=\s]+([0-9]+)", command):
            return found[1]
    return "6379"
