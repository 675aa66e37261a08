"""leaderboard.csv and epochs.csv while a search runs."""

from collections.abc import Callable, Collection, Sequence

from tune_cnn.results.leaderboard import epoch_columns, epoch_rows, leaderboard_columns, leaderboard_rows
from tune_cnn.results.records import RunFolder, TrialRecord
from tune_cnn.results.tables import write_csv

# Tables are rewritten while the search runs, but never for more than this share of its time.
_TIME_SHARE = 0.05


class LiveTables:
    """Rebuilds a run's tables from its records."""

    def __init__(self, run: RunFolder, measures: Sequence[str], clock: Callable[[], float]) -> None:
        self._run, self._measures, self._clock = run, measures, clock
        self._due = 0.0

    def write(self, records: Collection[TrialRecord], *, force: bool) -> None:
        """Rebuild both; unless forced, only if that would not take too much of the time."""
        started = self._clock()
        if not force and started < self._due:
            return
        rows, epochs = leaderboard_rows(records, self._measures), epoch_rows(records)
        write_csv(self._run.leaderboard, leaderboard_columns(rows), rows)
        write_csv(self._run.epochs, epoch_columns(epochs), epochs)
        self._due = self._clock() + (self._clock() - started) / _TIME_SHARE
