"""The real thing, small: `tune-cnn search` in a process of its own, with Ray, on generated images."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tune_cnn.config import TrialConfig
from tune_cnn.models.saved import load_model
from tune_cnn.space.schema import read_space
from tune_cnn.yaml_files import load_model as load_config
from tune_cnn.yaml_files import read_yaml

SPACE = """\
name: small
data: {{kind: folders, root: {root}, splits: {{train: train, val: valid, test: test}}}}
image: {{px: 32}}
model:
  backbone: {{choice: [resnet18, mobilenetv3_large_100]}}
  weights: none
  freeze: {{depth: {{range: [0.3, 1.0]}}}}
  head: {{hidden: {{choice: [[], [16]]}}, dropout: {{range: [0.0, 0.5]}}}}
training:
  epochs: 4
  batch_size: {{choice: [8, 16]}}
  optimizer: {{kind: adam, lr: {{range: [1e-4, 1e-1], log: true}}}}
  schedule:
    choice:
      - {{kind: plateau, factor: {{choice: [0.1, 0.3]}}, patience_epochs: 1}}
      - {{kind: one_cycle, rise: {{range: [0.1, 0.5]}}}}
augment: {{choice: [none, light]}}
search: {{trials: 6, metric: -val_loss, seed: 4, random_trials: 3, keep: 2, asha: {{grace_epochs: 1, reduction: 2}}}}
"""
TIMES = ["seconds", "peak_memory_mb"]


class Command:
    """`tune-cnn` as a process, with its own cache."""

    def __init__(self, folder: Path, cache_dir: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "XDG_CACHE_HOME": str(cache_dir), "NO_COLOR": "1"}

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        code = "from tune_cnn.cli import main; main()"
        line = [sys.executable, "-c", code, *map(str, arguments)]
        pipe = subprocess.PIPE
        return subprocess.Popen(line, cwd=self.folder, env=self.environment, stdout=pipe, stderr=pipe, text=True)

    def __call__(self, *arguments: str | Path, code: int = 0) -> str:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=240)
        assert process.returncode == code, out + err
        assert "Traceback" not in err
        return out + err


@pytest.fixture(scope="module")
def command(shapes: Path, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    folder = tmp_path_factory.mktemp("project")
    (folder / "small.yaml").write_text(SPACE.format(root=shapes))
    return Command(folder, cache_dir)


@pytest.fixture(scope="module")
def printed(command: Command) -> str:
    """What the search printed that the tests below look at."""
    return command("search", "small.yaml", "--concurrent", "1")


@pytest.fixture(scope="module")
def run(command: Command, printed: str) -> Path:
    assert printed
    return command.folder / "runs" / "small"


def leaderboard(run: Path) -> pd.DataFrame:
    return pd.read_csv(run / "leaderboard.csv")


def test_a_search_says_what_it_does_and_what_came_of_it(printed: str) -> None:
    for word in ("search", "data", "device", "sampler", "scheduler", "budget", "trial 0 begins", "best model", "rank"):
        assert word in printed
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
    assert set(rows.state) == {"complete", "stopped"}
    assert (rows[rows.state == "stopped"].epochs < 4).all()


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


def test_the_best_model_scores_under_evaluate_as_in_the_table(run: Path, command: Command) -> None:
    best = leaderboard(run).iloc[0]
    scores = json.loads(command("evaluate", run / "best", "--json"))
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


def test_a_trials_config_is_complete_and_repeats_the_trial(run: Path, command: Command) -> None:
    number = int(leaderboard(run).trial[0])
    out = command("train", run / "trials" / f"{number:04d}" / "config.yaml", "--out", "again")
    assert f"equal to trial {number} in every score" in out
    assert (command.folder / "again" / "best" / "model.safetensors").is_file()


def test_a_changed_config_is_said_not_to_be_equal(run: Path, command: Command, tmp_path: Path) -> None:
    number = int(leaderboard(run).trial[0])
    copy = tmp_path / "copy"
    shutil.copytree(run, copy, symlinks=True)
    config = copy / "trials" / f"{number:04d}" / "config.yaml"
    changed = load_config(config, TrialConfig).model_copy(update={"seed": 99})
    config.write_text(json.dumps(changed.model_dump(mode="json")))
    assert f"not equal to trial {number}" in command("train", config, "--out", tmp_path / "other")


def test_the_same_seed_gives_the_same_leaderboard(run: Path, command: Command) -> None:
    command("search", "small.yaml", "--concurrent", "1", "--name", "again")
    again = leaderboard(command.folder / "runs" / "again")
    pd.testing.assert_frame_equal(leaderboard(run).drop(columns=TIMES), again.drop(columns=TIMES))


def test_searching_again_says_that_all_is_done(run: Path, command: Command) -> None:
    before = (run / "leaderboard.csv").read_text()
    assert "all 6 trials are done" in command("search", "small.yaml", "--concurrent", "1")
    assert (run / "leaderboard.csv").read_text() == before


def test_a_folder_with_another_search_is_refused(run: Path, command: Command) -> None:
    out = command("search", "small.yaml", "--set", "training.batch_size=8", code=2)
    assert "holds another search" in out


def test_runs_are_shown_together_and_exported(run: Path, command: Command) -> None:
    out = command("leaderboard", run, run, "--csv", "both.csv", "--top", "3")
    both = pd.read_csv(command.folder / "both.csv")
    assert len(both) == 12
    assert set(both.run) == {str(run)}
    assert both.score.is_monotonic_decreasing
    assert "ranked by itself" not in out
    assert len(json.loads(command("leaderboard", run, "--json"))) == 6


def test_runs_on_different_images_are_never_ranked_together_silently(
    run: Path, command: Command, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(run, other, symlinks=True)
    with sqlite3.connect(other / "study.db") as db:
        db.execute("""UPDATE trial_user_attributes SET value_json = '"otherdata"' WHERE key = 'data'""")
    out = command("leaderboard", run, other)
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


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "kill"])
def test_an_interrupted_search_ends_in_order_and_can_be_resumed(command: Command, sign: int, code: int) -> None:
    name = f"interrupted-{code}"
    process = command.start("search", "small.yaml", "--name", name, "--trials", "3", "--set", "search.asha=null")
    epochs = command.folder / "runs" / name / "trials" / "0000" / "last" / "state.json"
    wait_for(epochs, process)
    process.send_signal(sign)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert f"go on with: tune-cnn resume {Path('runs') / name}" in err
    assert "Traceback" not in err
    command("resume", Path("runs") / name)
    rows = leaderboard(command.folder / "runs" / name)
    assert sorted(rows.trial) == [0, 1, 2]
    assert set(rows.state) == {"complete"}
    assert (pd.read_csv(command.folder / "runs" / name / "epochs.csv").groupby("trial").epoch.nunique() == 4).all()


def test_a_failing_trial_leaves_its_reason_and_the_search_goes_on(command: Command) -> None:
    lr = "training.optimizer={kind: sgd, lr: {choice: [1e15, 1e-2, 1e-3, 1e-4]}}"
    command("search", "small.yaml", "--name", "failing", "--trials", "5", "--set", lr)
    rows = leaderboard(command.folder / "runs" / "failing")
    failed = rows[rows["training.optimizer.lr"] == 1e15]
    assert len(failed) >= 1
    assert len(failed) < len(rows)
    assert (failed.state == "failed").all()
    assert failed.score.isna().all()
    assert failed.reason.str.startswith("DivergedError: epoch 1").all()
    first = command.folder / "runs" / "failing" / "trials" / "0000"
    assert "DivergedError" in (first / "error.txt").read_text()


def test_a_search_in_which_all_fails_alike_ends_with_the_cause(command: Command) -> None:
    lr = "training.optimizer={kind: sgd, lr: 1e15}"
    same = ["--set", "training.batch_size=8", "--set", "model={backbone: resnet18, weights: none}"]
    alike = [*same, "--set", "augment=none", "--set", "training.schedule={kind: constant}", "--set", lr]
    out = command("search", "small.yaml", "--name", "hopeless", "--trials", "30", *alike, code=1)
    assert "five trials in a row failed alike: DivergedError" in out
    assert len(leaderboard(command.folder / "runs" / "hopeless")) < 10


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, "the search ended before its first epoch"
        assert time.monotonic() < deadline
        time.sleep(0.1)
