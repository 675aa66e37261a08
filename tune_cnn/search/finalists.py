"""Who comes into the finals, and how long they will take."""

from collections.abc import Callable, Iterable, Sequence

from tune_cnn.config import TrialConfig
from tune_cnn.results.leaderboard import ranked
from tune_cnn.results.records import TrialRecord
from tune_cnn.sections.search import FinalsConfig

_FIT = "fit"  # the phase of a head that is fitted at once, whatever its seed
_SPARE = 1.1  # repeats that are never stopped early run a little longer than the trials they are estimated from


def finalists(records: Iterable[TrialRecord], top: int) -> list[TrialRecord]:
    """Give the best trials that have ended, best first; of trials with equal values only the best one.

    None that lies outside the space by now.
    """
    best: dict[tuple[tuple[str, object], ...], TrialRecord] = {}
    for record in ranked(records):
        if record.best and record.state != "running" and not record.outside:
            best.setdefault(tuple(sorted(record.values.items())), record)
    return list(best.values())[:top]


def repeats_of(record: TrialRecord, config: FinalsConfig) -> int:
    """Give how often a finalist is trained again: once where it is fitted at once, which comes out alike every time."""
    return 1 if _is_fitted(record) else config.repeats


def finals_seconds(
    config: FinalsConfig | None,
    records: Sequence[TrialRecord],
    config_of: Callable[[int], TrialConfig],
    at_once: int,
) -> float:
    """Estimate how long the finals will take, from the trials so far.

    Args:
        config: how many configurations and repeats; None for no finals.
        records: of the trials; those that are best now stand for those that will be.
        config_of: gives a trial's config, for its epochs and folds.
        at_once: how many run side by side.

    Returns:
        Seconds; 0 without finals, or before the first trial has an epoch.
    """
    known = [] if config is None else [record for record in ranked(records) if record.epochs]
    if config is None or not known:
        return 0.0
    each = [_seconds(record, config_of(record.trial)) for record in known[: config.top]]
    rounds = -(-config.top * config.repeats // max(1, at_once))
    return max(each) * rounds * _SPARE


def _seconds(record: TrialRecord, asked: TrialConfig) -> float:
    """Estimate one repeat: all epochs, and of a trial with folds a single training."""
    whole = record.seconds if _is_fitted(record) else record.seconds / len(record.epochs) * asked.training.epochs
    return whole / (asked.folds or 1)


def _is_fitted(record: TrialRecord) -> bool:
    return bool(record.epochs) and record.epochs[-1].phase == _FIT
