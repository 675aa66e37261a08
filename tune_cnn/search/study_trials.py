"""A trial as study.db keeps it: what its attributes are called, and what they tell of it."""

from collections.abc import Mapping
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from tune_cnn.results.records import EpochRecord, State, TrialFacts, TrialRecord
from tune_cnn.search.history import History
from tune_cnn.search.sealed import BrokenSealError, opened

STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "stopped",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}
EPOCH, STOP = "epoch", "stop"
OUTSIDE, VALUES, DRAWN = "outside", "values", "drawn"
"""The names of some attributes of trials; what was drawn stands there by the parameters' keys."""


def attributes_of(trial: FrozenTrial) -> dict[str, Any]:
    """Give what was kept of a trial.

    Raises:
        BrokenSealError: some of it is no longer what was kept, or a trial has lost what it was begun with.
    """
    kept = {name: opened(name, value) for name, value in trial.user_attrs.items()}
    if DRAWN not in kept and not kept.get(OUTSIDE):
        raise BrokenSealError(f"trial {trial.number}")
    return kept


def replay(trial: FrozenTrial, attributes: Mapping[str, Any], history: History) -> None:
    """Tell a history of a trial what it would have heard of it."""
    if attributes.get(OUTSIDE):
        history.skip()
        return
    history.begin(trial.number, attributes[DRAWN])
    for name in sorted(attributes):
        if name.startswith(f"{EPOCH}:"):
            history.report(trial.number, attributes[name]["epoch"], attributes[name]["score"])
    if trial.state != TrialState.RUNNING:
        history.finish(trial.number, STATES[trial.state])


def record_of(trial: FrozenTrial, attributes: Mapping[str, Any], test: Mapping[str, float]) -> TrialRecord:
    """Give a trial, of which so much was kept, as the tables show it; `test` are its scores on the test split."""
    epochs = [dict(attributes[name]) for name in sorted(attributes) if name.startswith(f"{EPOCH}:")]
    stops = [epoch.pop(STOP, "") for epoch in epochs]
    # The reason is noted before Optuna closes a trial, and so may stand there of one that goes on after a kill; what
    # was decided with its last epoch holds.
    running = trial.state == TrialState.RUNNING
    reason = (stops[-1] if stops else "") if running else attributes.get("reason", "")
    return TrialRecord(
        trial=trial.number,
        state=STATES[trial.state],
        seed=attributes.get("seed", 0),
        values=attributes.get(VALUES, {}),
        epochs=tuple(EpochRecord.from_json(epoch) for epoch in epochs),
        facts=TrialFacts(**attributes["facts"]) if "facts" in attributes else None,
        peak_memory_mb=attributes.get("peak_memory_mb"),
        reason=reason,
        data=attributes.get("data", ""),
        test=test,
        outside=bool(attributes.get(OUTSIDE)),
    )
