"""The real thing, small: `tune-cnn search` in a process of its own, with Ray, on generated images.

Each search costs many seconds before its first trial, and as many for each worker, so the tests share two: one that
runs through, and the same one interrupted twice. Commands that need no Ray run within this process, and so do searches
whose trials are no matter of Ray's: `make test-slow` has them on Ray.
"""

import json
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pandas as pd
import pytest

from tests.search.in_process import train_in_this_process
from tune_cnn import cli
from tune_cnn.config import TrialConfig
from tune_cnn.data.cache import Cache
from tune_cnn.models.saved import load_model
from tune_cnn.search.sealed import sealed
from tune_cnn.space.schema import read_space
from tune_cnn.yaml_files import load_model as load_config
from tune_cnn.yaml_files import read_yaml

pytestmark = pytest.mark.timeout(600)  # on busy cores the starts of three searches take minutes
SPACE = """\
name: small
data: {{kind: folders, root: {root}, splits: {{train: train, val: valid, test: test}}}}
image: {{px: 32}}
model:
  backbone: {{choice: [test_resnet, test_efficientnet]}}
  weights: none
  freeze: {{depth: {{range: [0.3, 1.0]}}}}
  head: {{hidden: {{choice: [[], [16]]}}, dropout: {{range: [0.0, 0.5]}}}}
training:
  epochs: 8
  batch_size: {{choice: [8, 16]}}
  optimizer: {{kind: adam, lr: {{range: [1e-4, 1e-1], log: true}}}}
  schedule:
    choice:
      - {{kind: plateau, factor: {{choice: [0.1, 0.3]}}, patience_epochs: 1}}
      - {{kind: one_cycle, rise: {{range: [0.1, 0.5]}}}}
augment: {{choice: [none, light]}}
search: {{trials: 6, metric: -val_loss, seed: 4, sampler: tpe, random_trials: 3, keep: 2,
          asha: {{grace_epochs: 1, reduction: 2}}}}
"""
SECRETS = {"RAY_AUTH_TOKEN": "0123456789abcdef" * 4, "AWS_SECRET_ACCESS_KEY": "hush-0123456789"}
TIMES = ["seconds", "peak_memory_mb", "ms_per_image"]


class Command:
    """`tune-cnn` as a process, with its own cache."""

    def __init__(self, folder: Path, cache: Cache) -> None:
        self.folder = folder
        self.environment = {**os.environ, "XDG_CACHE_HOME": str(cache.folder), "NO_COLOR": "1"}
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        # What runs in the background of a script ignores Ctrl-C, and hands that on to what it starts.
        listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
        code = f"{listen}; from tune_cnn.__main__ import main; main()"
        line = [sys.executable, "-c", code, *map(str, arguments)]
        pipe = subprocess.PIPE
        started = subprocess.Popen(line, cwd=self.folder, env=self.environment, stdout=pipe, stderr=pipe, text=True)
        self._started.append(started)
        return started

    def end(self) -> None:
        """End what a failed test has left running."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def __call__(self, *arguments: str | Path, code: int = 0) -> str:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=240)
        assert process.returncode == code, out + err
        assert "Traceback" not in err
        return out + err


class Within:
    """`tune-cnn` within this process: for what starts no Ray, and need not pay for its imports again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: str | Path, code: int = 0) -> str:
        self._monkeypatch.setattr(sys, "argv", ["tune-cnn", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = self._capsys.readouterr()
        assert ended.value.code == code, printed.out + printed.err
        return printed.out + printed.err


@pytest.fixture(scope="module")
def command(shapes: Path, cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    folder = tmp_path_factory.mktemp("project")
    (folder / "small.yaml").write_text(SPACE.format(root=shapes))
    command = Command(folder, cache)
    yield command
    command.end()


@pytest.fixture
def within(command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Within:
    monkeypatch.chdir(command.folder)
    monkeypatch.setenv("XDG_CACHE_HOME", command.environment["XDG_CACHE_HOME"])
    return Within(monkeypatch, capsys)


# One trial at a time: the order of judgement is that of the trials, and the second to be worse than the first is
# stopped; two at a time may never be measured against each other.
ONE_BY_ONE = ("search", "small.yaml", "--concurrent", "1")


@pytest.fixture(scope="module")
def printed(command: Command) -> str:
    """What the search printed that the tests below look at."""
    return command(*ONE_BY_ONE)


@pytest.fixture(scope="module")
def run(command: Command, printed: str) -> Path:
    assert printed
    return command.folder / "runs" / "small"


def leaderboard(run: Path) -> pd.DataFrame:
    return pd.read_csv(run / "leaderboard.csv")


def test_a_search_says_what_it_does_and_what_came_of_it(printed: str) -> None:
    for word in ("search", "data", "device", "sampler", "scheduler", "budget", "trial 0 begins", "best model", "rank"):
        assert word in printed
    assert "scoring the models of the best trials on the test images, 2 of them …\n" in printed
    assert "ray" not in printed.lower().replace("array", "")


def test_what_the_audit_found_is_shown_and_listed(printed: str, run: Path) -> None:
    assert "warning [few-images]: 5 classes have fewer than 10 training images: 'crescent' (6)" in printed
    found = pd.read_csv(run / "audit.csv")
    assert list(found[found.kind == "few_images"].label) == ["crescent", "flower", "polygon", "ring", "star"]


def test_every_trial_has_a_row_ranked_by_its_best_epoch(run: Path) -> None:
    rows = leaderboard(run)
    assert len(rows) == 6
    assert list(rows["rank"]) == [1, 2, 3, 4, 5, 6]
    epochs = pd.read_csv(run / "epochs.csv")
    best = epochs.groupby("trial").val_loss.min().to_dict()
    assert (-rows.score).tolist() == rows.val_loss.tolist() == [best[number] for number in rows.trial]
    assert rows.score.is_monotonic_decreasing


def test_some_trials_were_stopped_early(run: Path) -> None:
    rows = leaderboard(run)
    assert set(rows.state) == {"complete", "stopped"}  # the first has nobody to be measured against
    assert (rows[rows.state == "stopped"].epochs < 8).all()


def test_each_parameter_of_each_trial_is_what_the_live_objects_held(run: Path) -> None:
    rows = leaderboard(run).set_index("trial")
    parameters = [
        column for column in rows.columns if column.split(".")[0] in ("model", "training", "augment", "image")
    ]
    assert "training.schedule.kind" in parameters
    checked = 0
    for number, row in rows.iterrows():
        effective = read_yaml(run / "trials" / f"{number:04d}" / "effective.yaml").tree
        for name in parameters:
            if pd.isna(row[name]):
                continue
            held = effective
            for part in name.split("."):
                held = held[part]
            assert row[name] == (json.dumps(held, separators=(",", ":")) if isinstance(held, list) else held), name
            checked += 1
    assert checked >= 6 * 7


def test_the_best_model_scores_under_evaluate_as_in_the_table(run: Path, within: Within) -> None:
    best = leaderboard(run).iloc[0]
    scores = json.loads(within("evaluate", run / "best", "--json"))
    for split in ("val", "test"):
        for name in ("loss", "accuracy", "balanced_accuracy", "macro_f1"):
            assert scores[split][name] == pytest.approx(best[f"{split}_{name}"], abs=1e-6)


def test_only_the_best_keep_their_weights_and_were_scored_on_the_test_split(run: Path) -> None:
    rows = leaderboard(run)
    assert rows.test_accuracy.notna().tolist() == [True, True, False, False, False, False]
    kept = {int(path.parent.parent.name) for path in run.glob("trials/*/best/model.safetensors")}
    assert kept == set(rows.trial[:2])
    assert not list(run.glob("trials/*/last"))
    model, card = load_model(run / "best")
    assert len(card.classes) == 5
    assert not model.training


def test_a_trials_config_is_complete_and_repeats_the_trial(run: Path, within: Within) -> None:
    number = int(leaderboard(run).trial[0])
    out = within("train", run / "trials" / f"{number:04d}" / "config.yaml", "--out", "again")
    assert f"equal to trial {number} in every score" in out
    assert (run.parent.parent / "again" / "best" / "model.safetensors").is_file()


def test_a_changed_config_is_said_not_to_be_equal(run: Path, within: Within, tmp_path: Path) -> None:
    number = int(leaderboard(run).trial[0])
    copy = tmp_path / "copy"
    shutil.copytree(run, copy, symlinks=True)
    config = copy / "trials" / f"{number:04d}" / "config.yaml"
    changed = load_config(config, TrialConfig).model_copy(update={"seed": 99})
    config.write_text(json.dumps(changed.model_dump(mode="json")))
    assert f"not equal to trial {number}" in within("train", config, "--out", tmp_path / "other")


def test_searching_again_says_that_all_is_done(run: Path, within: Within) -> None:
    before = (run / "leaderboard.csv").read_text()
    assert "all 6 trials are done" in within(*ONE_BY_ONE)
    assert (run / "leaderboard.csv").read_text() == before


def test_a_folder_with_another_search_is_refused(run: Path, within: Within) -> None:
    out = within("search", "small.yaml", "--set", "training.batch_size=8", code=2)
    assert "holds another search, its space differs from this one:\n" in out
    assert "\n  training.batch_size: {choice: [8, 16], default: 8} then, 8 now\n" in out
    assert "tune-cnn extend runs/small --trials 12 --space small.yaml --set=training.batch_size=8\n" in out


def test_the_command_that_a_refusal_names_is_understood(run: Path, within: Within) -> None:
    out = within("search", "small.yaml", "--set", "search.keep=3", "--epochs", "3", code=2)
    named = next(line for line in out.splitlines() if line.startswith("to add trials of this one: tune-cnn "))
    words = shlex.split(named.partition("tune-cnn ")[2])
    assert "trials already, and --trials says how many it has in the end" in within(*words, "--trials", "6", code=2)
    assert read_yaml(run / "space.yaml").tree["training"]["epochs"] == 8


@pytest.fixture
def trained_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    train_in_this_process(monkeypatch, tmp_path)


@pytest.mark.parametrize(
    "on_ray", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["in-this-process", "on-ray"]
)
def test_a_run_is_extended_by_a_changed_space(
    run: Path, command: Command, within: Within, trained_here: None, tmp_path: Path, on_ray: bool
) -> None:
    grown = tmp_path / "grown"
    shutil.copytree(run, grown, symlinks=True)
    changed = ("extend", grown, "--trials", "7", "--set", "training.batch_size={choice: [8, 32]}")
    out = command(*changed) if on_ray else within(*changed)
    before, after = (leaderboard(folder).set_index("trial").sort_index() for folder in (run, grown))
    within_now = before["training.batch_size"] == 8
    told = f"{within_now.sum()} of 6 old trials lie within the new space and count for it; {(~within_now).sum()} "
    assert told in out
    assert after.score[:6].equals(before.score)
    assert len(after) == 7
    assert (after.outside[:6].eq(True) == ~within_now).all()
    assert after["training.batch_size"][6] in (8, 32)
    assert "all 7 trials are done" in within("resume", grown)


def test_runs_are_shown_together_and_exported(run: Path, within: Within) -> None:
    out = within("leaderboard", run, run, "--csv", "both.csv", "--top", "3")
    both = pd.read_csv(run.parent.parent / "both.csv")
    assert len(both) == 12
    assert set(both.run) == {str(run)}
    assert both.score.is_monotonic_decreasing
    assert "ranked by itself" not in out
    assert len(json.loads(within("leaderboard", run, "--json"))) == 6


def test_runs_on_different_images_are_never_ranked_together_silently(run: Path, within: Within, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(run, other, symlinks=True)
    with sqlite3.connect(other / "study.db") as db:
        other_data = json.dumps(sealed("data", "otherdata"))
        db.execute("UPDATE trial_user_attributes SET value_json = ? WHERE key = 'data'", (other_data,))
    out = within("leaderboard", run, other)
    assert "each group is ranked by itself" in out


def test_the_truth_holds_stopped_trials_as_pruned_with_their_curve(run: Path) -> None:
    with sqlite3.connect(run / "study.db") as db:
        states = dict(db.execute("SELECT number, state FROM trials").fetchall())
        curves = dict(
            db.execute(
                "SELECT number, count(*) FROM trials JOIN trial_intermediate_values USING (trial_id) GROUP BY number"
            ).fetchall()
        )
    for row in leaderboard(run).itertuples():
        assert states[row.trial] == {"complete": "COMPLETE", "stopped": "PRUNED"}[str(row.state)]
        assert curves[row.trial] == row.epochs


def test_the_space_in_a_run_folder_is_the_space_that_was_searched(run: Path, command: Command) -> None:
    assert read_space(run / "space.yaml").digest() == json.loads((run / "run.json").read_text())["space_digest"]


@pytest.fixture(scope="module")
def interrupted(command: Command) -> Path:
    """The same search, ended by Ctrl-C and by `kill` on its way; at last a worker of it is killed."""
    run = Path("runs") / "interrupted"
    given = ("--cache-dir", command.environment["XDG_CACHE_HOME"] + "/tune-cnn", "--cache-gb", "50.0")
    line: tuple[str, ...] = (*ONE_BY_ONE, *given, "--name", run.name)
    for sign, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        process = command.start(*line)
        wait_for_another_epoch(command.folder / run, process)
        process.send_signal(sign)
        _, err = process.communicate(timeout=120)
        assert process.returncode == code, err
        assert "Traceback" not in err
        assert f"interrupted; go on with: tune-cnn resume {run} {' '.join(given)}\n" in err
        line = ("resume", str(run), *given)
    process = command.start(*line)
    wait_for_another_epoch(command.folder / run, process)
    for worker in workers_of(process):
        os.kill(worker, signal.SIGKILL)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, out + err
    assert re.search(r"trial \d lost its worker \(killed, or out of memory\), .* \(1 of 3\)", out), out
    assert "raylet" not in out + err
    return command.folder / run


def answers_signals(process: "subprocess.Popen[str]") -> bool:
    """Whether a process has come so far as to catch SIGTERM and SIGINT: until then Python has not begun with ours."""
    fields = dict(line.split(":\t") for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    caught = int(fields["SigCgt"], 16)
    return all(caught >> (number - 1) & 1 for number in (signal.SIGTERM, signal.SIGINT))


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_moment_of_the_start_ends_the_search_within_ten_seconds(
    command: Command, sign: signal.Signals
) -> None:
    for step in range(24):
        process = command.start(*ONE_BY_ONE, "--name", f"start-{sign.name}")
        while not answers_signals(process):
            time.sleep(0.001)
        time.sleep(0.4 * step)
        process.send_signal(sign)
        out, err = process.communicate(timeout=10)
        assert process.returncode == 128 + sign, f"after {0.4 * step:.1f} s: {process.returncode}: {out}{err}"
        assert "Traceback" not in err
        assert re.search(r"interrupted; go on with: tune-cnn (search|resume) ", err)


def test_a_search_interrupted_twice_gives_the_leaderboard_of_one_that_was_not(run: Path, interrupted: Path) -> None:
    pd.testing.assert_frame_equal(leaderboard(run).drop(columns=TIMES), leaderboard(interrupted).drop(columns=TIMES))
    whole, parts = (pd.read_csv(folder / "epochs.csv").drop(columns="seconds") for folder in (run, interrupted))
    pd.testing.assert_frame_equal(whole, parts)


def test_every_call_on_a_run_folder_is_remembered_the_first_as_it_was(interrupted: Path) -> None:
    facts = json.loads((interrupted / "run.json").read_text())
    assert " search small.yaml " in facts["command"].replace("-c", "")
    assert [" resume " in call["command"].replace("-c", "") for call in facts["continued"]] == [True, True]
    assert facts["started"] <= facts["continued"][0]["started"] <= facts["continued"][1]["started"]


def test_nothing_half_written_is_left_of_interrupts(interrupted: Path) -> None:
    assert not list(interrupted.rglob("*.part"))
    assert len(list(interrupted.glob("trials/*/.best-*"))) == 2


@pytest.mark.slow
def test_two_searches_at_once_on_one_new_cache_both_end_right(command: Command) -> None:
    runs = [command.folder / "runs" / name for name in ("one", "other")]
    searches = [command.start(*ONE_BY_ONE, "--name", run.name, "--cache-dir", "new-cache") for run in runs]
    for process in searches:
        out, err = process.communicate(timeout=500)
        assert process.returncode == 0, out + err
    one, other = (leaderboard(run).drop(columns=TIMES) for run in runs)
    pd.testing.assert_frame_equal(one, other)
    assert not [log for run in runs for log in run.glob("trials/*/trial.log") if "cannot be used" in log.read_text()]
    assert not list((command.folder / "new-cache").rglob("*.part"))


def test_a_search_in_which_all_fails_alike_ends_with_the_cause(command: Command, tmp_path: Path) -> None:
    lr = "training.optimizer={kind: sgd, lr: 1e15}"
    same = ["--set", "training.batch_size=8", "--set", "model={backbone: test_resnet, weights: none}"]
    alike = [*same, "--set", "augment=none", "--set", "training.schedule={kind: constant}", "--set", lr]
    line: tuple[str | Path, ...] = (*ONE_BY_ONE, "--out", tmp_path, "--name", "hopeless", "--trials", "30", *alike)
    out = command(*line, code=1)
    assert "five trials in a row failed alike: DivergedError" in out
    run = tmp_path / "hopeless"
    rows = leaderboard(run)
    assert len(rows) == 5  # a failed trial does not end the search; the fifth alike does
    assert (rows.state == "failed").all()
    assert rows.score.isna().all()
    assert rows.reason.str.startswith("DivergedError: epoch 1").all()
    assert "DivergedError" in (run / "trials" / "0000" / "error.txt").read_text()


def test_an_address_at_which_no_cluster_answers_is_one_clear_message_before_all_else(within: Within) -> None:
    out = within("search", "small.yaml", "--name", "nowhere", "--address", "no-host:port", "--cache-dir", "new", code=1)
    assert "--address no-host:port: no Ray cluster answers there" in out
    assert not Path("new").exists(), "images were looked at before"
    assert not Path("runs/nowhere").exists()


def test_no_file_of_a_run_holds_a_secret(
    run: Path, printed: str, within: Within, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    within(*ONE_BY_ONE, "--weights", f"no/such/{SECRETS['AWS_SECRET_ACCESS_KEY']}")
    assert "--weights no/such/…" in json.loads((run / "run.json").read_text())["continued"][-1]["command"]
    files = [file for file in run.rglob("*") if file.is_file()]
    assert len(files) > 20
    for secret in SECRETS.values():
        assert secret not in printed
        assert not [file for file in files if secret.encode() in file.read_bytes()]


def test_credentials_in_an_address_are_refused_and_not_repeated(within: Within) -> None:
    out = within("search", "small.yaml", "--name", "secret", "--data", "s3://AKIA:hush@bucket/images", code=2)
    assert "data.root: root has credentials in it" in out
    assert "hush" not in out


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """The workers of Ray that run a trial for a search."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # many end meanwhile
            is_worker = (place / "cmdline").read_bytes().startswith(b"ray::ImplicitFunc")
            if is_worker and parent_of(parent_of(int(place.name))) == process.pid:  # between them is the raylet
                found.append(int(place.name))
    assert found
    return found


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def wait_for_another_epoch(run: Path, process: subprocess.Popen[str]) -> None:
    """Wait until the study holds an epoch more than before the process began."""
    deadline = time.monotonic() + 120
    before = epochs_in(run)
    while epochs_in(run) == before:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def epochs_in(run: Path) -> int:
    if not (run / "study.db").exists():
        return 0
    with closing(sqlite3.connect(f"file:{run / 'study.db'}?mode=ro", uri=True, timeout=60)) as db:
        return int(db.execute("SELECT count(*) FROM trial_intermediate_values").fetchone()[0])
