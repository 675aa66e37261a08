"""A trial that gets on is left alone, one that does not leaves its stack."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tune_cnn import progress
from tune_cnn.progress import Patience
from tune_cnn.results.failures import Failure
from tune_cnn.search.last_words import LastWords
from tune_cnn.search.watchdog import watched

SHORT = Patience(least_seconds=0.3, before_first_step_seconds=0.3)


def wait_in_a_place_with_a_name(heard: threading.Event) -> bool:
    return heard.wait(20)


def test_a_hang_is_told_once_and_its_stack_is_in_the_log(tmp_path: Path) -> None:
    heard, seconds = threading.Event(), list[float]()

    def on_hang(silent: float) -> None:
        seconds.append(silent)
        heard.set()

    log = tmp_path / "trial" / "trial.log"
    words = LastWords(log)
    with watched(log, SHORT, on_hang):
        assert wait_in_a_place_with_a_name(heard)
    assert len(seconds) == 1
    assert seconds[0] > 0.3
    assert words.failure() == Failure("no progress for 0 s", "hang")
    text = log.read_text()
    assert "ERROR no progress for 0 s; where each thread stands, the latest call first:\n" in text
    assert "in wait_in_a_place_with_a_name" in text


@pytest.mark.parametrize("tell", [progress.sign, progress.step], ids=["signs", "steps"])
def test_whoever_gives_signs_of_life_is_left_alone(tmp_path: Path, tell: object) -> None:
    assert callable(tell)
    heard = list[float]()
    with watched(tmp_path / "log", Patience(least_seconds=1.0, before_first_step_seconds=1.0), heard.append):
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            time.sleep(0.02)
            tell()
    assert not heard
    assert not (tmp_path / "log").read_text()
    assert LastWords(tmp_path / "nowhere").failure() is None


def test_what_cannot_give_signs_of_life_is_not_taken_for_a_hang(tmp_path: Path) -> None:
    heard = list[float]()
    with watched(tmp_path / "log", SHORT, heard.append), progress.unmeasured():
        time.sleep(1)
    assert not heard


def test_the_trial_before_is_no_measure_for_the_next_one() -> None:
    progress.step()
    assert progress.limit_seconds(Patience()) == 60
    progress.begin()
    assert progress.limit_seconds(Patience()) == 300


def test_ten_median_steps_are_allowed_where_that_is_longer_than_a_minute() -> None:
    progress.begin()
    for _ in range(3):
        progress.step()
    assert progress.limit_seconds(Patience()) == 60
    assert progress.limit_seconds(Patience(least_seconds=0.0, steps=1e12)) > 60
    with progress.unmeasured(600):
        assert progress.limit_seconds(Patience()) == 600
    assert progress.limit_seconds(Patience()) == 60


NATIVE = """\
import ctypes
import os
import sys
import time
from pathlib import Path
from tune_cnn.search import watchdog
from tune_cnn.progress import Patience
watchdog._GRACE_SECONDS = 0.5
sys.setswitchinterval(1000)
with watchdog.watched(Path(sys.argv[1]), Patience(least_seconds=1.0, before_first_step_seconds=1.0), print):
    time.sleep(0.5)
    def in_native_code():
        %s
    in_native_code()
"""


@pytest.mark.parametrize(
    ("code", "exit_code", "failure"),
    [
        pytest.param(
            "while True: pass",
            1,
            Failure("never let go of Python's interpreter", "hang"),
            id="never-lets-go-of-the-interpreter",
        ),
        pytest.param(
            "ctypes.string_at(0)",
            -signal.SIGSEGV,
            Failure("crashed: Segmentation fault; stack in trial.log", "worker"),
            id="crashes",
        ),
        pytest.param("os.kill(os.getpid(), 9)", -signal.SIGKILL, None, id="is-killed"),
    ],
)
def test_a_process_that_ends_in_native_code_leaves_the_reason_and_its_stack(
    tmp_path: Path, code: str, exit_code: int, failure: Failure | None
) -> None:
    log = tmp_path / "log"
    log.write_text("Fatal Python error: of another worker, before\n")
    words = LastWords(log)
    line = [sys.executable, "-c", NATIVE % code, str(log)]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (exit_code, "", "")
    assert words.failure() == failure
    assert ("in in_native_code" in log.read_text()) == (failure is not None)


def test_what_an_earlier_worker_left_on_another_machine_is_not_this_ones(tmp_path: Path) -> None:
    words = LastWords(tmp_path / "log", "lost its worker (killed), goes on from epoch 3")
    left = "ERROR no progress for 60 s; where each thread stands:\n"
    (tmp_path / "log").write_text(f"{left}2026 WARNING lost its worker (killed), goes on from epoch 3, on b\n")
    assert words.failure() is None
    with (tmp_path / "log").open("a") as log:
        log.write(left)
    assert words.failure() == Failure("no progress for 60 s", "hang")


AFTER_A_TRIAL = """\
import ctypes, faulthandler, sys
from pathlib import Path
from tune_cnn.search import watchdog
from tune_cnn.progress import Patience
faulthandler.enable()
with watchdog.watched(Path(sys.argv[1]), Patience(), print):
    pass
ctypes.string_at(0)
"""


def test_stacks_of_crashes_go_where_they_went_before_once_a_trial_is_over(tmp_path: Path) -> None:
    line = [sys.executable, "-c", AFTER_A_TRIAL, str(tmp_path / "log")]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert "Fatal Python error: Segmentation fault" in ended.stderr
    assert not (tmp_path / "log").read_text()
