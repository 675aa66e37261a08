"""Records made for tests."""

from collections.abc import Mapping

from tune_cnn.results.records import EpochRecord, Scalar, State, TrialRecord


def epoch(number: int, score: float, **scores: float) -> EpochRecord:
    return EpochRecord(
        epoch=number,
        seconds=1.0,
        lr=0.001,
        frozen_units=0,
        score=score,
        scores={"val_accuracy": score, "val_loss": 1.0, **scores},
    )


def trial(
    number: int,
    *,
    state: State = "complete",
    epochs: tuple[EpochRecord, ...] = (),
    values: Mapping[str, Scalar] | None = None,
    test: Mapping[str, float] | None = None,
    reason: str = "",
) -> TrialRecord:
    return TrialRecord(
        trial=number,
        state=state,
        seed=0,
        values=values or {},
        epochs=epochs,
        test=test or {},
        reason=reason,
        data="f" * 64,
    )
