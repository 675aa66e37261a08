"""Who comes into the finals, and how long they will take."""

from collections.abc import Iterable, Sequence

from tune_cnn.results.leaderboard import ranked
from tune_cnn.results.records import TrialRecord
from tune_cnn.sections.search import FinalsConfig

_SPARE = 1.1  # repeats that are never stopped early run a little longer than the trials they are estimated from


def finalists(records: Iterable[TrialRecord], top: int) -> list[TrialRecord]:
    """Give the best trials that have ended, best first; of trials with equal values only the best one."""
    best: dict[tuple[tuple[str, object], ...], TrialRecord] = {}
    for record in ranked(records):
        if record.best and record.state != "running":
            best.setdefault(tuple(sorted(record.values.items())), record)
    return list(best.values())[:top]


def finals_seconds(config: FinalsConfig | None, records: Sequence[TrialRecord], epochs: int, at_once: int) -> float:
    """Estimate how long the finals will take, from the trials so far.

    Args:
        config: how many configurations and repeats; None for no finals.
        records: of the trials; those that are best now stand for those that will be.
        epochs: the most that a repeat can take.
        at_once: how many run side by side.

    Returns:
        Seconds; 0 without finals, or before the first trial has an epoch.
    """
    known = [record for record in ranked(records) if record.epochs]
    if config is None or not known:
        return 0.0
    each = [record.seconds / len(record.epochs) * epochs for record in known[: config.top]]
    rounds = -(-config.top * config.repeats // max(1, at_once))
    return max(each) * rounds * _SPARE
