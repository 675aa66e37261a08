"""Workers that die or hang, and two searches at once: real Ray, real processes, on a cluster of this machine.

The trials train nothing (see stub_trial.py), so that an undisturbed run of the same search can be had without Ray.
"""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.search.on_cluster import Machines, Watched, begun, leaderboard, run_search, undisturbed
from tests.search.stub_trial import Fault, StubTrial
from tune_cnn.errors import StoreError
from tune_cnn.results.records import RunFolder
from tune_cnn.storage.place import Share

pytestmark = [pytest.mark.slow, pytest.mark.cluster]
ROOT = Path(__file__).parents[2]


# --- faults of one trial ---------------------------------------------------------------------------------------------

FAULTS = (
    Fault(1, 3, "killed", times=1),
    Fault(2, 2, "killed"),
    Fault(3, 4, "hangs", times=1),
    Fault(4, 3, "hangs"),
    Fault(5, 2, "diverges"),
    Fault(6, 3, "out of memory"),
    Fault(7, 4, "crashes", times=1),
)
RECOVERS, FAILS = [0, 1, 3, 7], [2, 4, 5, 6]


@pytest.fixture(scope="module")
def struck(machines: Machines, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """A search of eight trials, one of which nothing happens to."""
    machines.add(cpus=4)
    try:
        return run_search(machines.address, tmp_path_factory.mktemp("struck"), StubTrial(FAULTS))
    finally:
        machines.lose(0)


def test_whoever_recovers_has_the_scores_of_an_undisturbed_run(struck: Watched, tmp_path: Path) -> None:
    rows, whole = leaderboard(struck.run), undisturbed(tmp_path / "whole")
    assert sorted(rows.index[rows.state == "complete"]) == RECOVERS
    columns = [name for name in rows.columns if name not in ("rank", "reason")]
    pd.testing.assert_frame_equal(rows.loc[RECOVERS, columns], whole.loc[RECOVERS, columns], check_dtype=False)


@pytest.mark.parametrize(
    ("trial", "epochs"),
    [
        pytest.param(0, [1, 2, 3, 4, 5], id="nothing"),
        pytest.param(1, [1, 2, 3, 3, 4, 5], id="killed-once"),
        pytest.param(2, [1, 2, 2, 2, 2], id="killed-whenever-it-comes-to-epoch-2"),
        pytest.param(3, [1, 2, 3, 4, 4, 5], id="hangs-once"),
        pytest.param(4, [1, 2, 3, 3], id="hangs-whenever-it-comes-to-epoch-3"),
        pytest.param(5, [1, 2], id="diverges"),
        pytest.param(6, [1, 2, 3], id="memory-error"),
        pytest.param(7, [1, 2, 3, 4, 4, 5], id="crashes-once"),
    ],
)
def test_a_trial_goes_on_from_its_last_epoch_as_often_as_may_help(
    struck: Watched, trial: int, epochs: list[int]
) -> None:
    assert [epoch for epoch, _ in begun(struck, trial)] == epochs


@pytest.mark.parametrize(
    ("trial", "reason"),
    [
        pytest.param(
            2,
            r"lost its worker 4 times, always in epoch 2 \(killed, or out of memory\); most likely memory ran out "
            r"there: write a smaller training\.batch_size .*",
            id="killed",
        ),
        pytest.param(4, r"hung: no progress for \d+ s in epoch 3; stack in trial\.log", id="hangs"),
        pytest.param(5, r"DivergedError: epoch 2: the training loss is nan", id="diverges"),
        pytest.param(6, r"MemoryError: cannot allocate 8 GiB", id="memory-error"),
    ],
)
def test_who_does_not_recover_fails_alone_with_a_reason(struck: Watched, trial: int, reason: str) -> None:
    row = leaderboard(struck.run).loc[trial]
    assert row.state == "failed"
    assert pd.Series([row.reason]).str.fullmatch(reason).all(), row.reason


def test_the_user_is_told_of_each_interruption_and_how_many_are_left(struck: Watched) -> None:
    lost = "lost its worker (killed, or out of memory)"
    told = [line for line in struck.lines if line.startswith(("trial 1 ", "trial 2 "))]
    assert f"trial 1 {lost}, goes on from epoch 3 (1 of 3)" in told
    assert [f"trial 2 {lost}, goes on from epoch 2 ({time} of 3)" in told for time in (1, 2, 3)] == [True] * 3


def test_why_a_trials_folder_cannot_be_made_is_told(machines: Machines, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "trials").write_text("in the way of what lies below")
    elsewhere = Share(f"memory://{tmp_path.name}", tmp_path / "run", home="another machine")
    machines.add(cpus=1)
    try:
        session = run_search(machines.address, tmp_path, StubTrial(), "search.trials=1", share=elsewhere)
    finally:
        machines.lose(0)
    assert session.records[0].reason.startswith("NotADirectoryError: ")


def test_what_ends_the_search_does_not_wait_for_who_still_runs(machines: Machines, tmp_path: Path) -> None:
    work = StubTrial((Fault(0, 2, "full disk"), Fault(1, 1, "gets nowhere")))
    machines.add(cpus=2)
    try:
        with pytest.raises(StoreError, match="No space left on device"):
            run_search(machines.address, tmp_path, work)
    finally:
        machines.lose(0)


def test_a_crash_is_told_as_one_and_its_stack_is_in_the_log(struck: Watched) -> None:
    why = "crashed: Aborted; stack in trial.log"
    assert f"trial 7 lost its worker ({why}), goes on from epoch 4 (1 of 3)" in struck.lines
    assert "in _suffer" in struck.run.trial(7).log.read_text()


def test_the_log_of_a_trial_tells_of_its_interruptions_and_where_it_hung(struck: Watched) -> None:
    killed, hung = (struck.run.trial(number).log.read_text() for number in (1, 3))
    assert "lost its worker (killed, or out of memory), goes on from epoch 3 (1 of 3), on " in killed
    assert "ERROR no progress for" in hung
    assert "in _suffer" in hung
    assert "hung (no progress for" in hung


def search_in_its_own_process(address: str, folder: Path, seconds: float, *overrides: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "tests.search.on_cluster", address, str(folder), str(seconds), *overrides]
    return subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def test_rays_own_guard_of_memory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.01")  # of the machine's memory, which is less than Ray takes
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "250")
    search = search_in_its_own_process("local", tmp_path, 5, "search.trials=1")
    _, err = search.communicate(timeout=240)
    assert search.returncode == 0, err
    why = "(memory ran out on its machine); write a smaller training.batch_size or image.px, or run fewer trials"
    assert f"lost its worker 4 times, always in epoch 1 {why}" in leaderboard(RunFolder(tmp_path / "run")).reason[0]


def test_where_ray_does_not_start_the_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    far_down = tmp_path / ("d" * 99)
    far_down.mkdir()
    monkeypatch.setenv("TMPDIR", str(far_down))
    search = search_in_its_own_process("local", tmp_path, 5)
    _, err = search.communicate(timeout=240)
    assert "SearchError: Ray does not start on this machine (OSError: " in err
    assert f"if {far_down} is full, or far down, set TMPDIR to another folder" in err


def test_a_search_begins_although_rays_first_workers_do_not_come_up_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from tune_cnn.search import ray_cluster\nwith ray_cluster.ray_running(None): print('up')"
    monkeypatch.setenv("RAY_worker_register_timeout_seconds", "0")
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "up\n", done.stderr


# --- two searches -----------------------------------------------------------------------------------------------------


def test_two_searches_on_one_cluster_do_not_mix(machines: Machines, tmp_path: Path) -> None:
    wanted = (("search.trials=4", "training.epochs=3"), ("search.trials=3", "search.seed=8"))
    folders = [tmp_path / name for name in ("one", "other")]
    machines.add(cpus=4)
    try:
        searches = []
        for folder, overrides in zip(folders, wanted, strict=True):
            folder.mkdir()
            searches.append(search_in_its_own_process(machines.address, folder, 0.2, *overrides))
        for search in searches:
            _, err = search.communicate(timeout=240)
            assert search.returncode == 0, err
    finally:
        machines.lose(0)
    for folder, overrides in zip(folders, wanted, strict=True):
        whole = undisturbed(folder / "whole", *overrides)
        pd.testing.assert_frame_equal(leaderboard(RunFolder(folder / "run")), whole)
