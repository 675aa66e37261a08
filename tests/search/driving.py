"""Drive a search session with a made-up trial: no Ray, no torch, every score a function of (values, epoch)."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tune_cnn.models.trunk import frozen_units_of, trunk_of
from tune_cnn.results.effective import write_effective
from tune_cnn.results.records import EpochRecord, RunFolder, Scalar, TrialFacts
from tune_cnn.results.trial_files import new_best
from tune_cnn.search.jobs import Job
from tune_cnn.search.session import SearchSession
from tune_cnn.search.study import Study
from tune_cnn.space.schema import Space, read_space

SPACE = """\
name: made
data: {kind: folders, root: images, splits: {train: train, val: val}}
model:
  backbone: {choice: [resnet18, tf_efficientnet_lite0]}
  weights: none
  freeze: {depth: {range: [0.0, 1.0]}}
training:
  epochs: 9
  optimizer: {kind: adam, lr: {range: [1e-5, 1e-1], log: true}}
  schedule:
    choice:
      - {kind: plateau, factor: {choice: [0.1, 0.3]}}
      - {kind: one_cycle, rise: {range: [0.1, 0.5]}}
search: {trials: 12, seed: 3, sampler: tpe, random_trials: 4, keep: 2, asha: {grace_epochs: 1, reduction: 3}}
"""

Score = Callable[[Mapping[str, Scalar], int], float]
WEIGHTS: dict[tuple[str, str], Path | None] = {("resnet18", "none"): None, ("tf_efficientnet_lite0", "none"): None}


def made_space(folder: Path, text: str = SPACE, *, overrides: Sequence[str] = ()) -> Space:
    file = folder / "made.yaml"
    file.write_text(text)
    return read_space(file, overrides=overrides)


def open_session(space: Space, run: RunFolder, **options: object) -> SearchSession:
    study = Study.open(run.study, space.search)
    given = {"weights_files": WEIGHTS, "data": "d" * 64, **options}
    return SearchSession(space, study, run, **given)  # type: ignore[arg-type]


def rising(values: Mapping[str, Scalar], epoch: int) -> float:
    """A score that depends on the values and rises with the epochs."""
    lr = values["training.optimizer.lr"]
    assert isinstance(lr, float)
    return round(1 / (1 + abs(lr - 0.01) * 50) + 0.01 * epoch, 6)


def facts_of(job: Job) -> TrialFacts:
    model = job.config.model
    return TrialFacts(1000, 10, 1.5, frozen_units_of(model), len(trunk_of(model).line), "cpu")


def epoch_of(number: int, score: float, phase: str = "train") -> EpochRecord:
    scores = {"train_loss": 1.0, "val_loss": 1 - score, "val_accuracy": score}
    return EpochRecord(epoch=number, seconds=0.5, lr=0.1, frozen_units=0, score=score, scores=scores, phase=phase)


def begin(session: SearchSession, job: Job) -> None:
    """Write what a worker writes first."""
    tell_read_back(session, job)


def tell_read_back(
    session: SearchSession, job: Job, *, live: Mapping[str, object] | None = None, **seen: object
) -> dict[str, Any]:
    """Write, and give, what a worker read back from its live objects, by default just what was asked for."""
    observed = {"phase": "train", "frozen_units": facts_of(job).frozen_units, **seen}
    return write_effective(session.run.trial(job.number).effective, job.config, live=live or {}, observed=observed)


def keep_weights(session: SearchSession, number: int, epoch: int = 1) -> None:
    """Write a best model as a worker does."""
    with new_best(session.run.trial(number), epoch) as part:
        (part / "model.safetensors").write_bytes(b"weights")


def go_on(session: SearchSession, job: Job, epoch: int, score: float, phase: str = "train") -> bool:
    """Do what a worker does in an epoch that is the best so far; True if the trial may go on."""
    keep_weights(session, job.number, epoch)
    return session.on_epoch(job.number, epoch_of(epoch, score, phase), facts_of(job), 100.0)


def start(session: SearchSession) -> Job:
    """Let a trial begin, as far as its first epoch."""
    job = session.propose()
    assert job is not None
    begin(session, job)
    return job


def drive(session: SearchSession, score: Score = rising, *, most: int | None = None) -> int:
    """Run trials one after the other until there are no more; give how many."""
    done = 0
    while (most is None or done < most) and (job := session.propose()):
        begin(session, job)
        values = session.records[job.number].values
        for epoch in range(len(session.records[job.number].epochs) + 1, job.config.training.epochs + 1):
            if not go_on(session, job, epoch, score(values, epoch)):
                break
        session.on_end(job.number, None)
        done += 1
    return done
