"""What the driver of a search can bear: stub trials on a simulated 64-slot cluster, around our real session.

Prints, and with --json writes, the share of the slots that is busy, the results per second the driver can take, and how
its memory grows. See benchmarks/simulation.py.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.memory import growth_mb
from benchmarks.places import ROOT
from benchmarks.simulation import Outcome, simulate
from tune_cnn.search.open_space import open_space

_SPACE = ROOT / "spaces" / "aquarium.yaml"
_EPOCHS = 5


def measure(*, trials: int, slots: int, trial_seconds: float, folder: Path) -> Outcome:
    """Simulate a search of spaces/aquarium.yaml with trials of `trial_seconds` in five epochs, none stopped before."""
    sets = (f"search.trials={trials}", f"training.epochs={_EPOCHS}", f"search.asha.grace_epochs={_EPOCHS}")
    space = open_space(_SPACE, overrides=sets).space
    return simulate(space, folder, slots=slots, epoch_seconds=trial_seconds / _EPOCHS)


def facts(outcome: Outcome) -> dict[str, Any]:
    """Give the figures of a simulation as plain data."""
    tenth = max(1, outcome.trials // 10)
    return {
        "slots": outcome.slots,
        "trials": outcome.trials,
        "busy_share": outcome.busy_share,
        "busy_ceiling": outcome.busy_ceiling,
        "results_per_second": outcome.results_per_second,
        "driver_ms_per_trial": 1000 * outcome.driver_seconds / outcome.trials,
        "driver_cpu_ms_per_trial": 1000 * outcome.driver_cpu_seconds / outcome.trials,
        "propose_ms_first_tenth": statistics.median(outcome.propose_ms[:tenth]),
        "propose_ms_last_tenth": statistics.median(outcome.propose_ms[-tenth:]),
        "resident_mb": outcome.resident_mb[-1],
        "growth_mb": growth_mb(outcome.resident_mb),
    }


def text(found: dict[str, Any]) -> str:
    """Give the figures as one reads them."""
    return "\n".join(
        (
            f"{found['trials']} stub trials on {found['slots']} simulated slots",
            f"slots busy           {found['busy_share']:.1%} of at most {found['busy_ceiling']:.1%}",
            f"results per second   {found['results_per_second']:.0f} that the driver can take",
            f"driver per trial     {found['driver_ms_per_trial']:.1f} ms, of which the processor works for "
            f"{found['driver_cpu_ms_per_trial']:.1f}",
            f"proposal             {found['propose_ms_first_tenth']:.1f} ms among the first tenth of the trials, "
            f"{found['propose_ms_last_tenth']:.1f} ms among the last",
            f"memory               {found['resident_mb']:.0f} MiB, {found['growth_mb']:+.1f} since the second tenth",
        )
    )


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--trial-seconds", type=float, default=5.0)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tc-driver-") as folder:
        outcome = measure(
            trials=asked.trials, slots=asked.slots, trial_seconds=asked.trial_seconds, folder=Path(folder) / "run"
        )
    found = facts(outcome)
    print(text(found))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
