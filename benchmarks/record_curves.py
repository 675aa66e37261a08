"""Record a table of real fine-tuning curves, for comparing samplers without training: benchmarks/curves/*.csv.

Searches benchmarks/curves/aquarium_lite0.yaml at random, every trial to its end, one trial at a time on one CPU. May be
interrupted at any moment: run again, it goes on; with more --hours or --trials it goes on to those. The table holds the
trials that are complete, and beside it stands on which machine, with which versions and when they ran.
"""

import argparse
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.curve_table import Curve, curves_of, write_curves
from tune_cnn.search.open_space import open_space
from tune_cnn.search.recorded import read_recorded
from tune_cnn.search.run_facts import RunFacts

CURVES = Path(__file__).parent / "curves"
SPACE = CURVES / "aquarium_lite0.yaml"


def main() -> None:
    """Search, then write the table of what is complete so far."""
    asked = _arguments()
    run = asked.out / SPACE.stem
    code = subprocess.run(_search_command(asked), check=False).returncode
    if code:
        sys.exit(code)
    space = open_space(run / "space.yaml").space
    recorded = read_recorded(run)
    curves = curves_of(recorded.trials, space.parameters)
    table = asked.table or CURVES / f"{SPACE.stem}.csv"
    write_curves(table, curves, space.parameters)
    table.with_suffix(".md").write_text(_account(curves, recorded.facts))
    print(f"{table}: {len(curves)} curves, {table.stat().st_size / 1000:.0f} kB")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="where the aquarium images are")
    parser.add_argument("--weights", type=Path, help="a folder with the backbone's weights; as in tune-cnn search")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where the run folder goes")
    parser.add_argument("--cache-dir", type=Path, help="as in tune-cnn search")
    parser.add_argument("--trials", type=int, help="how many configurations, instead of the space's")
    parser.add_argument("--epochs", type=int, help="epochs of each, instead of the space's; for trying this program")
    parser.add_argument("--hours", type=float, help="begin nothing after so many hours, all calls together")
    parser.add_argument("--table", type=Path, help="the table, instead of benchmarks/curves/aquarium_lite0.csv")
    return parser.parse_args()


def _search_command(asked: argparse.Namespace) -> list[str]:
    given = {
        "--data": asked.data,
        "--weights": asked.weights,
        "--out": asked.out,
        "--cache-dir": asked.cache_dir,
        "--trials": asked.trials,
        "--epochs": asked.epochs,
        "--hours": asked.hours,
        "--concurrent": 1,
    }
    options = [text for name, value in given.items() if value is not None for text in (name, str(value))]
    return [sys.executable, "-c", "from tune_cnn.cli import main; main()", "search", str(SPACE), *options]


def _account(curves: list[Curve], facts: RunFacts) -> str:
    """Say of a table what one has to know to believe it."""
    call = facts.latest
    seconds = sum(sum(curve.seconds) for curve in curves)
    versions = ", ".join(f"{name} {version}" for name, version in call.versions.items())
    return f"""\
# {SPACE.stem}.csv

{len(curves)} configurations drawn at random from [{SPACE.name}]({SPACE.name}) (seed {facts.seed}),
each trained to its end by `tune-cnn` itself, one at a time on one CPU: {seconds / 3600:.2f} hours within epochs.
A row holds the values, the validation accuracy after each epoch (`score_*`), and the seconds each epoch took
(`seconds_*`; the first trial that needs a view or an activation pays for making it).

- Machine: {call.machine}, {_cpu()}, {call.device}
- Versions: {versions}
- Commit: {call.commit}
- Images: fingerprint {facts.data[:12]}
- Date: {datetime.now(UTC):%Y-%m-%d}
- Recorded with: `python -m benchmarks.record_curves {shlex.join(_shown(sys.argv[1:]))}`
"""


def _cpu() -> str:
    """Name the processor; the architecture where the system does not tell."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _shown(words: list[str]) -> list[str]:
    """Give a command line without the places of this machine."""
    return [Path(word).name if "/" in word else word for word in words]


if __name__ == "__main__":
    main()
