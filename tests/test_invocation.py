"""Commands that are shown can be typed as they stand, however the program was called."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tune_cnn.invocation import program

ROOT = Path(__file__).parents[1]
SCRIPT = f"#!{sys.executable}\nfrom tune_cnn.__main__ import main\nmain()\n"
PYTHON = shlex.quote(sys.executable)


def installed(folder: Path) -> Path:
    """A `tune-cnn` as pip makes one."""
    folder.mkdir(parents=True)
    script = folder / "tune-cnn"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    return script


@pytest.mark.parametrize(
    ("called", "on_path", "shown"),
    [
        pytest.param(".venv/bin/tune-cnn", "", ".venv/bin/tune-cnn", id="by-its-path"),
        pytest.param("tune-cnn", ".venv/bin", "tune-cnn", id="by-its-name"),
        pytest.param(".venv/bin/tune-cnn", ".venv/bin", "tune-cnn", id="by-its-path-though-its-name-would-do"),
        pytest.param(".venv/bin/tune-cnn", "other", ".venv/bin/tune-cnn", id="another-goes-by-its-name"),
        pytest.param("my bin/tune-cnn", "", "'my bin/tune-cnn'", id="a-path-with-a-blank"),
        pytest.param("somewhere/pytest", "", "tune-cnn", id="by-another-program"),
    ],
)
def test_a_shown_command_begins_with_what_the_shell_finds(
    called: str, on_path: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (".venv/bin", "my bin", "other"):
        installed(tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / on_path)] if on_path else ["/nowhere"]))
    monkeypatch.setattr(sys, "argv", [called, "search", "my space.yaml"])
    assert program() == shown


def said(line: str, at: Path) -> str:
    """What a shell shows for a command line, in a folder."""
    environment = {**os.environ, "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(at / "cache")}
    shell = ["/bin/sh", "-c", line]
    ended = subprocess.run(shell, cwd=at, env=environment, capture_output=True, text=True, check=False)
    assert "Traceback" not in ended.stderr
    return ended.stderr + ended.stdout


def test_called_as_a_module_it_shows_commands_that_call_it_so_with_pythons_options(tmp_path: Path) -> None:
    text = said(f"{PYTHON} -X utf8 -m tune_cnn backbones no-such-thing", tmp_path)
    assert f"run `{PYTHON} -X utf8 -m tune_cnn backbones` for all of them" in text


def test_what_a_starter_says_to_try_can_be_typed(shapes: Path, tmp_path: Path) -> None:
    installed(tmp_path / ".venv/bin")
    text = said(f".venv/bin/tune-cnn init {shapes} --out 'my photos.yaml'", tmp_path)
    _, check, _, search, _ = text.split("`")
    assert (check, search) == tuple(f".venv/bin/tune-cnn {name} 'my photos.yaml'" for name in ("check", "search"))
    assert "train: 30 images" in said(check, tmp_path)
