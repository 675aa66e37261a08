"""The whole benchmark, in sizes at which its figures mean nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_quick_benchmark_measures_every_part(tmp_path: Path) -> None:
    raw = tmp_path / "raw.json"
    command = [sys.executable, "-m", "benchmarks.bench", "--quick", "--stand-in", "--json", str(raw)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(raw.read_text())
    searches = ("head_only", "last_stage", "uniform_depth", "everything")
    assert {*searches, "overhead", "suggestion", "driver", "worker"} < set(found)
    for name in searches:
        ours, plain = found[name]["searches"]
        values = [
            [(trial["backbone"], trial["frozen_units"], trial["lr"]) for trial in each["trials"]]
            for each in (ours, plain)
        ]
        assert values[0] == values[1]
        assert [len(trial["scores"]) for trial in plain["trials"]] == [2, 2]
        assert found[name]["floor"]["trained_seconds"] > 0
    assert len(found["rows"]) == 7
    assert "| overhead per trial" in done.stdout
