"""Builders that are killed at any moment, and builders that meet, leave nothing in a cache but sound entries."""

import multiprocessing
import random
import shutil
import time
from hashlib import sha256
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from tests.data.builders import Builder, build_large, show_views, tell
from tests.data.pictures import class_folders

BUILDERS = pytest.mark.parametrize("build", [build_large, show_views])
KILLS = 10
SECONDS = 120.0
# Children are forked from a process that has imported everything, and has no threads.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.data.builders"])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return class_folders(tmp_path / "set", images=8)


def start(build: Builder, data: Path, folder: Path) -> tuple[BaseProcess, Connection]:
    """Start a builder in a process of its own; gives it as it begins."""
    ours, theirs = FORKS.Pipe()
    process = FORKS.Process(target=tell, args=(build, data, folder, theirs))
    process.start()
    theirs.close()
    hear(ours)
    return process, ours


def hear(pipe: Connection) -> int | None:
    """Give what a builder sends next; one that hangs fails the test."""
    assert pipe.poll(SECONDS)
    said: int | None = pipe.recv()
    return said


def content(folder: Path) -> dict[str, str]:
    """Every file of every entry that a reader could open, with its digest."""
    entries = [path for path in folder.glob("*/*") if path.is_dir() and not path.name.startswith(".")]
    files = [file for entry in entries for file in entry.iterdir()]
    return {str(file.relative_to(folder)): sha256(file.read_bytes()).hexdigest() for file in files}


@BUILDERS
def test_a_builder_killed_at_any_moment_leaves_only_whole_entries_and_the_next_ends_right(
    tmp_path: Path, data: Path, build: Builder
) -> None:
    moments = random.Random(1)  # noqa: S311 - no secret
    hear(start(build, data, tmp_path / "first")[1])  # the first also pays for what is imported late
    process, pipe = start(build, data, tmp_path / "whole")
    began = time.perf_counter()
    total = hear(pipe)
    seconds = time.perf_counter() - began
    whole = content(tmp_path / "whole")
    killed = tmp_path / "killed"
    for _ in range(KILLS):
        process, pipe = start(build, data, killed)
        time.sleep(moments.uniform(0.0, seconds))
        process.kill()  # by SIGKILL
        process.join()
        assert content(killed).items() <= whole.items()
        if content(killed) == whole:  # it came too late: the others shall have something to build
            shutil.rmtree(killed)
    assert build(data, killed) == total
    assert content(killed) == whole
    assert not list(killed.rglob("*.part"))


@BUILDERS
def test_processes_that_build_at_once_all_end_right(tmp_path: Path, data: Path, build: Builder) -> None:
    children = [start(build, data, tmp_path / "shared") for _ in range(3)]
    totals = {hear(pipe) for _, pipe in children}
    assert totals == {build(data, tmp_path / "alone")}
    assert content(tmp_path / "shared") == content(tmp_path / "alone")
