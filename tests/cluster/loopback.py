"""A laptop and two machines that it reaches by SSH, all of them on loopback and in one temporary folder.

The machines are 127.0.0.1 and 127.0.0.2, with one sshd that has its own keys, configuration and port. Laptop and
machines have homes of their own, so that nothing is read from or written to the user's; and `ray stop` on the machines
ends what belongs to this folder alone, while the real one would end every Ray of the host.
"""

import getpass
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]

_SSHD_CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
ListenAddress 127.0.0.2
HostKey {ssh}/host
AuthorizedKeysFile {ssh}/user.pub
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PermitRootLogin prohibit-password
# Its files lie below a temporary folder, which all may write.
StrictModes no
PidFile none
SetEnv HOME={home}
"""
# The key, too: the head looks for its copy of it in the home that /etc/passwd names.
_SSH_CONFIG = """\
Host *
  Port {port}
  IdentityFile {ssh}/user
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
"""
_SSH = """\
#!/bin/sh
exec {ssh_program} -F {ssh}/config "$@"
"""
_RAY = """\
#!{python}
import sys
sys.path.insert(0, {root!r})
if sys.argv[1:2] == ["stop"]:
    from pathlib import Path
    from tests.cluster.loopback import end_processes
    end_processes(Path({folder!r}))
    sys.exit()
from ray.scripts.scripts import main
sys.exit(main())
"""
_BASHRC = """\
export PATH={folder}/bin:{python_folder}:$PATH PYTHONPATH={root} RAY_AUTH_MODE=token RAY_TMPDIR={folder}/ray
export XDG_CACHE_HOME={folder}/cache NO_COLOR=1
"""


def missing() -> str:
    """Say what this machine lacks for a loopback cluster; empty if nothing."""
    programs = [name for name in ("sshd", "ssh", "ssh-keygen", "rsync") if _program(name) is None]
    packages = [name for name in ("aiohttp", "grpc", "opencensus") if importlib.util.find_spec(name) is None]
    wanted = [*programs, *(["ray[default]"] if packages else [])]
    return f"needs {', '.join(wanted)}" if wanted else ""


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


@dataclass(frozen=True)
class Loopback:
    """The folder with all that belongs to laptop and machines, and how to call programs as on the laptop."""

    folder: Path
    ports: dict[str, int]
    environment: dict[str, str] = field(repr=False)

    @property
    def laptop(self) -> Path:
        """The home folder of who calls `ray up`."""
        return self.folder / "laptop"

    @property
    def machine(self) -> Path:
        """The home folder of both machines."""
        return self.folder / "machine"

    @property
    def gcs(self) -> str:
        """Where the head listens, once it is up."""
        return f"127.0.0.1:{self.ports['gcs']}"

    def run(self, *command: str | Path, seconds: float = 180.0, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the laptop; its exit code, and what it printed."""
        return subprocess.run(
            [str(word) for word in command],
            cwd=self.laptop,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def processes(self) -> list[int]:
        """The ids of the processes that Ray started for this cluster."""
        return processes_of(self.folder)


@contextmanager
def loopback() -> Iterator[Loopback]:
    """Start the SSH server; at the end, everything that was started is ended and the folder removed."""
    folder = Path(tempfile.mkdtemp(prefix="tc-"))  # a short name: paths of sockets end at 107 letters
    try:
        there = _lay_out(folder)
        with _sshd(there):
            yield there
    finally:
        end_processes(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _lay_out(folder: Path) -> Loopback:
    ports = free_ports("ssh", "gcs", "dashboard", "agent", "agent_grpc", "client")
    for name in ("laptop/.ray", "machine", "bin", "ssh", "ray"):
        (folder / name).mkdir(parents=True)
    for key in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "ssh" / key)]
        subprocess.run(command, check=True)
    ssh = folder / "ssh"
    config = _SSHD_CONFIG.format(port=ports["ssh"], ssh=ssh, home=folder / "machine")
    (ssh / "sshd_config").write_text(config)
    (ssh / "config").write_text(_SSH_CONFIG.format(port=ports["ssh"], ssh=ssh))
    _program_file(folder / "bin" / "ssh", _SSH.format(ssh_program=_program("ssh"), ssh=ssh))
    _program_file(folder / "bin" / "ray", _RAY.format(python=sys.executable, root=str(ROOT), folder=str(folder)))
    bashrc = _BASHRC.format(folder=folder, python_folder=Path(sys.executable).parent, root=ROOT)
    (folder / "machine" / ".bashrc").write_text(bashrc)
    token = folder / "laptop" / ".ray" / "auth_token"
    token.touch(0o600)
    token.write_text(secrets.token_hex(32))
    return Loopback(folder, ports, _environment(folder))


def _environment(folder: Path) -> dict[str, str]:
    """The laptop's: nothing of the Ray that the tests may run under, and temporary files in the folder."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "TUNE_"))}
    path = f"{folder}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"
    ray = {"RAY_AUTH_MODE": "token", "RAY_TMPDIR": f"{folder}/ray", "RAY_USAGE_STATS_ENABLED": "0"}
    places = {"HOME": f"{folder}/laptop", "TMPDIR": f"{folder}/ray", "XDG_CACHE_HOME": f"{folder}/cache"}
    return mine | ray | places | {"PATH": path, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "USER": getpass.getuser()}


def _program_file(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o755)


def free_ports(*names: str) -> dict[str, int]:
    sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in names}
    ports = {name: one.getsockname()[1] for name, one in sockets.items()}
    for one in sockets.values():
        one.close()
    return ports


@contextmanager
def _sshd(there: Loopback) -> Iterator[None]:
    program = _program("sshd")
    assert program
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd goes for its unprivileged half; Debian's start-up makes it
    with (there.folder / "sshd.log").open("w") as log:
        command = [program, "-D", "-e", "-f", str(there.folder / "ssh" / "sshd_config")]
        server = subprocess.Popen(command, stderr=log)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", there.ports["ssh"])) == 0:
                    break
            time.sleep(0.1)
        yield
    finally:
        server.terminate()
        server.wait()


def processes_of(folder: Path) -> list[int]:
    """The processes whose command line names the folder's `ray`, which Ray's temporary files lie in."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:  # it has ended meanwhile
                continue
            if f"{folder}/ray" in words:
                found.append(int(entry.name))
    return found


def end_processes(folder: Path) -> None:
    """End what `processes_of` finds, by id."""
    for _ in range(20):
        left = processes_of(folder)
        for process in left:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if not left:
            return
        time.sleep(0.2)
