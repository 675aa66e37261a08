"""One driver per run folder, with real processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tune_cnn.errors import RunFolderError
from tune_cnn.results.records import RunFolder
from tune_cnn.search.driver_lock import Holder, driver_lock

HOLD = """
import sys, time
from pathlib import Path
from tune_cnn.results.records import RunFolder
from tune_cnn.search.driver_lock import driver_lock
with driver_lock(RunFolder(Path(sys.argv[1]))):
    print("holds", flush=True)
    sys.stdin.read()
"""
# Forked after the imports, so that all come to the lock within milliseconds.
TWENTY = """
import os, sys
from pathlib import Path
from tune_cnn.errors import RunFolderError
from tune_cnn.results.records import RunFolder
from tune_cnn.search.driver_lock import driver_lock
here, there = os.pipe(), os.pipe()
for _ in range(20):
    if os.fork() == 0:
        os.close(here[1])
        os.read(here[0], 1)  # until all are there
        try:
            with driver_lock(RunFolder(Path(sys.argv[1]))):
                os.write(there[1], b"runs\\n")
                sys.stdin.read()
        except RunFolderError as error:
            os.write(there[1], f"{error}\\n".encode())
        os._exit(0)
os.close(here[1])
os.close(there[1])
for line in os.fdopen(there[0]):
    print(line, end="", flush=True)
"""


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


@contextmanager
def started(code: str, run: RunFolder) -> "Iterator[subprocess.Popen[str]]":
    line, pipe = [sys.executable, "-c", code, str(run.path)], subprocess.PIPE
    with subprocess.Popen(line, stdin=pipe, stdout=pipe, text=True, start_new_session=True) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def said(process: "subprocess.Popen[str]", lines: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(lines)]


def test_of_twenty_that_start_at_once_one_runs_and_is_named_to_the_others(run: RunFolder) -> None:
    with started(TWENTY, run) as process:
        lines = said(process, 20)
        assert lines.count("runs") == 1
        holder = Holder.model_validate_json(run.driver.read_bytes())
        refused = [line for line in lines if line != "runs"]
        assert all(f"another search is at work in this folder ({holder.text})" in line for line in refused), refused
        process.communicate()  # its standard input ends, and with that the one that runs
    assert not run.driver.exists()


def test_a_driver_that_was_killed_is_followed_by_the_next_with_one_line(run: RunFolder) -> None:
    with started(HOLD, run) as process:
        assert said(process, 1) == ["holds"]
        os.kill(process.pid, signal.SIGSTOP)  # it is silent, but it lives
        alive = f"process {process.pid} on {socket.gethostname()}, since 2"
        with pytest.raises(RunFolderError, match=alive), driver_lock(run):
            pass
    notes: list[str] = []
    with driver_lock(run, note=notes.append):
        pass
    assert len(notes) == 1
    assert notes[0].startswith(f"the driver before (process {process.pid} on {socket.gethostname()}, since 2")
    with driver_lock(run, note=notes.append):  # one that ends says so
        pass
    assert len(notes) == 1


def left(run: RunFolder, silent_seconds: float, **changed: str | int) -> None:
    """Leave a note as a driver does that dies; by default one of this very process."""
    run.path.mkdir()
    run.driver.write_text(json.dumps({**Holder.here().model_dump(), **changed}))
    then = time.time() - silent_seconds
    os.utime(run.driver, (then, then))


@pytest.mark.parametrize(
    ("silent_seconds", "changed"),
    [
        pytest.param(0, {"pid": 2**22 + 1}, id="no-such-process"),
        pytest.param(0, {"started": "12"}, id="its-number-is-another-processs-by-now"),
        pytest.param(0, {"host": "pod-1", "processes": "pid:[1]"}, id="another-container-of-this-machine"),
        pytest.param(3600, {"boot": "of-yesterday"}, id="this-machine-before-it-was-started-anew"),
    ],
)
def test_a_driver_that_is_gone_is_in_nobodys_way(
    run: RunFolder, silent_seconds: float, changed: dict[str, str | int]
) -> None:
    left(run, silent_seconds, **changed)
    notes: list[str] = []
    with driver_lock(run, note=notes.append):
        assert Holder.model_validate_json(run.driver.read_bytes()).pid == os.getpid()
    assert len(notes) == 1


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        pytest.param({}, r"another search is at work in this folder \(process \d+ on", id="alive-without-a-lock"),
        pytest.param(
            {"host": "node-7", "boot": "other", "pid": 12},
            r"\(process 12 on node-7, since .*; last sign of life 7200 s ago\).*once it has, rm .*\.driver\.json",
            id="another-machine",
        ),
    ],
)
def test_a_driver_that_may_be_alive_is_named_and_not_disturbed(
    run: RunFolder, changed: dict[str, str | int], says: str
) -> None:
    left(run, 7200, **changed)
    note = run.driver.read_bytes()
    with pytest.raises(RunFolderError, match=says), driver_lock(run):
        pass
    assert run.driver.read_bytes() == note
    run.driver.unlink()  # as the message says
    with driver_lock(run):
        pass


def test_a_machine_of_the_same_name_that_gave_a_sign_of_life_just_now_is_another_one(run: RunFolder) -> None:
    left(run, 5, boot="other")
    with pytest.raises(RunFolderError, match="a search on another machine was at work"), driver_lock(run):
        pass


def test_a_note_that_a_power_cut_has_damaged_is_no_hindrance(run: RunFolder) -> None:
    run.path.mkdir()
    run.driver.write_text('{"host": "a')
    with driver_lock(run):
        pass


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder in which nobody may write: only Linux has /proc")
def test_where_nothing_can_be_written_is_told_with_another_way() -> None:
    with (
        pytest.raises(RunFolderError, match=r"/proc/runs/one: cannot be written .* write --out DIR"),
        driver_lock(RunFolder(Path("/proc/runs/one"))),
    ):
        pass
