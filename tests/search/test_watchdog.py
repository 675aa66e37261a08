"""A trial that gets on is left alone, one that does not leaves its stack."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tune_cnn import progress
from tune_cnn.progress import Patience
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
    with watched(log, SHORT, on_hang):
        assert wait_in_a_place_with_a_name(heard)
    assert len(seconds) == 1
    assert seconds[0] > 0.3
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


HOLDS_THE_INTERPRETER = """\
import sys
from pathlib import Path
from tune_cnn.search import watchdog
from tune_cnn.progress import Patience
watchdog._GRACE_SECONDS = 0.5
sys.setswitchinterval(1000)
with watchdog.watched(Path(sys.argv[1]), Patience(least_seconds=1.0, before_first_step_seconds=1.0), print):
    import time
    time.sleep(0.5)
    def circle():
        while True:
            pass
    circle()
"""


def test_a_library_that_never_lets_go_of_the_interpreter_is_ended_all_the_same(tmp_path: Path) -> None:
    line = [sys.executable, "-c", HOLDS_THE_INTERPRETER, str(tmp_path / "log")]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", "")
    assert "in circle" in (tmp_path / "log").read_text()
