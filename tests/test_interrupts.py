"""SIGINT and SIGTERM in processes of their own."""

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

START = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background may ignore it
import tune_cnn.interrupts as module
from tune_cnn.interrupts import interrupts
module._SECONDS_IN_ORDER, module._SECONDS_OF_ONE = {in_order}, {of_one}
interrupts.farewell = lambda: "go on with: this"
try:
    with interrupts.listening():
        {work}
except KeyboardInterrupt:
    print("in order", interrupts.exit_code, flush=True)
    {after}
sys.exit(interrupts.exit_code)
"""
WAITS = 'print("listens", flush=True); time.sleep(60)'
THROWN_AWAY = f'type("Goes", (), {{"__del__": lambda _: [{WAITS.replace("; ", ", ")}]}})(); time.sleep(60)'
STUCK = f"""try: {WAITS}
        except KeyboardInterrupt: print("swallowed", flush=True)
        time.sleep(60)"""


def started(work: str = WAITS, after: str = "", *, in_order: float = 60, of_one: float = 60) -> subprocess.Popen[str]:
    code = START.format(work=work, after=after, in_order=in_order, of_one=of_one)
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", code], stdout=pipe, stderr=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "listens\n"
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "kill"])
def test_the_first_signal_ends_the_command_in_order(number: signal.Signals, code: int) -> None:
    process = started()
    process.send_signal(number)
    assert process.communicate(timeout=30) == (f"in order {code}\n", "")
    assert process.returncode == code


def test_a_signal_that_an_object_swallows_as_it_goes_ends_the_command_all_the_same() -> None:
    process = started(THROWN_AWAY)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == ("in order 130\n", "")
    assert process.returncode == 130


@pytest.mark.parametrize("work", [WAITS, STUCK], ids=["stuck-in-cleaning-up", "interrupt-swallowed"])
def test_where_order_takes_too_long_the_command_says_its_farewell_and_leaves(work: str) -> None:
    process = started(work, after="time.sleep(60)", in_order=0.1)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert out in ("in order 143\n", "swallowed\n")
    assert (process.returncode, err) == (143, "go on with: this\n")


def test_a_second_signal_leaves_at_once() -> None:
    process = started(STUCK, of_one=0)
    assert process.stdout is not None
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "swallowed\n"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "go on with: this\n")


def test_the_same_ctrl_c_handed_on_by_a_starter_is_no_second_one() -> None:
    process = started(after="time.sleep(0.5)")
    assert process.stdout is not None
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "in order 130\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "kill"])
@pytest.mark.parametrize("place", ["", "class A: a = type('B', (), {'__set_name__': wait})()"], ids=["module", "class"])
def test_a_signal_while_modules_are_imported_is_answered_in_a_line(
    number: signal.Signals, code: int, place: str, tmp_path: Path
) -> None:
    wait = 'def wait(*_):\n    import time\n    print("imports", flush=True)\n    time.sleep(60)\n'
    (tmp_path / "typer.py").write_text(wait + (place or "wait()"))
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])
    # What runs in the background may ignore Ctrl-C, and hands that on to what it starts.
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    line = [sys.executable, "-c", f"{listen}; from tune_cnn.__main__ import main; main()", "resume", "runs/a b"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(line, stdout=pipe, stderr=pipe, text=True, env={**os.environ, "PYTHONPATH": path})
    assert process.stdout is not None
    assert process.stdout.readline() == "imports\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (code, "interrupted; go on with: tune-cnn resume 'runs/a b'\n")


def test_the_command_begins_with_listening() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    assert project["project"]["scripts"] == {"tune-cnn": "tune_cnn.__main__:main"}
