"""How long a suggestion takes after many trials, and what it costs to take in an epoch or an end.

The study is the one a search writes: a SQLite file with parameters, epochs and user attributes. A hundred of its trials
were really asked for, reported and finished; to have 10,000, they are copied with other scores, row by row, in SQL.
`python -m benchmarks.suggestion` prints medians and 90 % quantiles in milliseconds.
"""

import argparse
import sqlite3
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tune_cnn.results.records import EpochRecord
from tune_cnn.search.open_space import open_space
from tune_cnn.search.study import Study
from tune_cnn.space.schema import Space

SPACE = Path(__file__).parents[1] / "spaces" / "aquarium.yaml"
PAST = (100, 1_000, 10_000)
SAMPLERS = ("random", "tpe", "bohb")
_REAL_TRIALS, _RUNNING, _EPOCHS = 100, 16, 6


@dataclass(frozen=True)
class Timing:
    """Milliseconds that one thing took, each time it was done."""

    what: str
    sampler: str
    past_trials: int
    each_ms: tuple[float, ...]

    @property
    def median_ms(self) -> float:
        """The middle one."""
        return float(np.median(self.each_ms))

    @property
    def p90_ms(self) -> float:
        """Nine of ten took less."""
        return float(np.quantile(self.each_ms, 0.9))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--past", type=int, nargs="+", default=PAST, help="numbers of past trials")
    parser.add_argument("--repeats", type=int, default=30, help="how often each is measured")
    parser.add_argument("--folder", type=Path, help="where the study is written; the system's temporary one by default")
    asked = parser.parse_args()
    print(f"{'':8} {'sampler':8} {'past trials':>11} {'median ms':>10} {'p90 ms':>8}")
    for past in asked.past:
        for sampler in SAMPLERS:
            for timing in measure(sampler, past, repeats=asked.repeats, folder=asked.folder):
                print(
                    f"{timing.what:8} {sampler:8} {past:>11} {timing.median_ms:>10.1f} {timing.p90_ms:>8.1f}",
                    flush=True,
                )


def measure(sampler: str, past_trials: int, *, repeats: int, folder: Path | None = None) -> list[Timing]:
    """Measure suggestions after so many trials, and the taking in of epochs and ends.

    Args:
        sampler: as in `search.sampler`.
        past_trials: how many have ended; a few more are running.
        repeats: how often each thing is done.
        folder: where the study is written; the system's temporary one by default. The disk matters: each write waits
            for it.
    """
    space = open_space(SPACE, overrides=[f"search.sampler={sampler}"]).space
    with tempfile.TemporaryDirectory(dir=folder) as place:
        db = Path(place) / "study.db"
        begin(db, space, _REAL_TRIALS)
        copy(db, _REAL_TRIALS, past_trials)
        study = Study.read(db, space.search)
        numbers = [study.ask(space)[0] for _ in range(_RUNNING)]
        asks = [_timed(lambda: numbers.append(study.ask(space)[0])) for _ in range(repeats)]
        reports = [_timed(partial(study.report, number, _epoch(1, 0.5))) for number in numbers[-repeats:]]
        ends = [_timed(partial(study.finish, number, "stopped", None, "ASHA")) for number in numbers[-repeats:]]
    timed = {"ask": asks, "report": reports, "finish": ends}
    return [Timing(what, sampler, past_trials, tuple(each)) for what, each in timed.items()]


def _timed(done: Callable[[], object]) -> float:
    began = time.perf_counter()
    done()
    return 1000 * (time.perf_counter() - began)


def begin(db: Path, space: Space, trials: int) -> None:
    """Make a study in which some trials came to different ends."""
    study, random = Study.open(db, space.search), np.random.default_rng(0)
    for _ in range(trials):
        number, drawn = study.ask(space)
        study.note(number, values=drawn.named, seed=0, data="0" * 64)
        epochs = int(random.integers(1, _EPOCHS + 1))
        scores = random.random(epochs).tolist()
        for epoch, score in enumerate(scores, start=1):
            study.report(number, _epoch(epoch, score))
        study.finish(number, "complete" if epochs == _EPOCHS else "stopped", max(scores))


def _epoch(number: int, score: float) -> EpochRecord:
    scores = {"train_loss": 1.0, "train_accuracy": 0.5, "val_loss": 1.0, "val_accuracy": score, "val_macro_f1": score}
    return EpochRecord(epoch=number, seconds=1.0, lr=0.001, frozen_units=10, score=score, scores=scores)


# ?1 is how far the copies' numbers lie from the originals', ?2 how many originals there are.
_COPIES = (
    "INSERT INTO trials (trial_id, number, study_id, state, datetime_start, datetime_complete) "
    "SELECT trial_id + ?1, number + ?1, study_id, state, datetime_start, datetime_complete FROM trials "
    "WHERE number < ?2",
    "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) "
    "SELECT trial_id + ?1, param_name, param_value, distribution_json FROM trial_params WHERE trial_id <= ?2",
    'INSERT INTO trial_user_attributes (trial_id, "key", value_json) '
    'SELECT trial_id + ?1, "key", value_json FROM trial_user_attributes WHERE trial_id <= ?2',
    "INSERT INTO trial_values (trial_id, objective, value, value_type) "
    "SELECT trial_id + ?1, objective, value + abs(random() % 1000) / 10000.0, value_type FROM trial_values "
    "WHERE trial_id <= ?2",
    "INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type) "
    "SELECT trial_id + ?1, step, intermediate_value + abs(random() % 1000) / 10000.0, intermediate_value_type "
    "FROM trial_intermediate_values WHERE trial_id <= ?2",
)


def copy(db: Path, real: int, trials: int) -> None:
    """Copy all `real` trials of a study, whose ids begin at 1 and numbers at 0, until it has `trials`."""
    connection = sqlite3.connect(db)
    with connection:
        for first in range(real, trials, real):
            for statement in _COPIES:
                connection.execute(statement, (first, real))
    connection.close()


if __name__ == "__main__":
    main()
