"""How a worker's memory grows: many tiny trials in one process, as a resident worker runs them."""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.memory import growth_mb, resident_mb
from tune_cnn.config import TrialConfig
from tune_cnn.data.cache import Cache
from tune_cnn.results.records import TrialFolder
from tune_cnn.results.trial_files import delete_weights
from tune_cnn.sample import write_sample
from tune_cnn.trial import run_trial

_LAYERS = [{"conv": 4, "pool": 2}]


def config_of(root: Path, number: int) -> TrialConfig:
    """Give the config of one trial: as little training as there can be, at a rate of its own."""
    whole: dict[str, Any] = {
        "name": "stub",
        "data": {"kind": "folders", "root": str(root), "splits": {"train": "train", "val": "valid"}},
        "image": {"px": 16},
        "model": {"backbone": {"kind": "custom", "layers": _LAYERS}},
        "training": {"epochs": 1, "optimizer": {"kind": "adam", "lr": 1e-3 * (1 + number % 7)}},
        "augment": "light",
    }
    return TrialConfig.model_validate(whole)


def measure(trials: int, folder: Path) -> list[float]:
    """Run so many trials one after the other; give the resident memory in MiB after each."""
    write_sample("shapes", folder / "images", images_per_class={"train": 4, "valid": 2, "test": 1})
    memory: list[float] = []
    for number in range(trials):
        place = TrialFolder(folder / "trials" / f"{number:04d}")
        run_trial(config_of(folder / "images", number), place, metric="val_accuracy", cache=Cache(folder / "cache"))
        delete_weights(place)
        memory.append(resident_mb())
    return memory


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tc-worker-") as folder:
        memory = measure(asked.trials, Path(folder))
    found = {"trials": asked.trials, "resident_mb": memory[-1], "growth_mb": growth_mb(memory)}
    print(
        f"{asked.trials} trials in one process: {memory[-1]:.0f} MiB, {found['growth_mb']:+.1f} since the second tenth"
    )
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
