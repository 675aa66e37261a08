"""One search, as its driver sees it: what is tried next, who may go on, what is kept. Knows neither Ray nor torch.

Whoever runs trials (Ray in `runner.py`, a plain loop in a test) calls `propose`, `on_epoch` and `on_end`.
"""

import math
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tune_cnn.config import TrialConfig
from tune_cnn.errors import DivergedError, MismatchError
from tune_cnn.files import point_to
from tune_cnn.models.encoders import unit_line
from tune_cnn.models.freeze import frozen_units
from tune_cnn.results.effective import compare_effective
from tune_cnn.results.leaderboard import epoch_columns, epoch_rows, leaderboard_columns, leaderboard_rows, ranked
from tune_cnn.results.records import EpochRecord, RunFolder, Scalar, State, TrialFacts, TrialRecord
from tune_cnn.results.tables import write_csv
from tune_cnn.search.asha import Asha
from tune_cnn.search.study import Study
from tune_cnn.space.nodes import Drawn
from tune_cnn.space.schema import Space
from tune_cnn.yaml_files import load_model, write_yaml

EQUAL_FAILURES_IN_A_ROW = 5
# Tables are rewritten while the search runs, but never for more than this share of its time.
_TABLE_TIME_SHARE = 0.05


@dataclass(frozen=True)
class Job:
    """One trial to run: everything a worker needs to know."""

    number: int
    config: TrialConfig
    folder: Path


@dataclass
class Live:
    """A running trial as the screen shows it."""

    job: Job
    epochs: list[EpochRecord] = field(default_factory=list)
    stop_reason: str = ""

    @property
    def best_score(self) -> float | None:
        """The best score so far; None before the first epoch."""
        return max((epoch.score for epoch in self.epochs), default=None)


Event = Callable[[str], None]


class SearchSession:
    """Proposes trials until the budget is spent, judges them by epoch, and keeps the truth and its views up to date."""

    def __init__(
        self,
        space: Space,
        study: Study,
        run: RunFolder,
        *,
        weights_files: Mapping[tuple[str, str], Path | None],
        data: str,
        on_event: Event = lambda _text: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take up a search, new or interrupted.

        Args:
            space: what is searched.
            study: the truth; trials that a dead driver left running are taken up again.
            run: the folder for tables and trials.
            weights_files: the local file for each (backbone, weights); resolved before the first trial.
            data: the fingerprint of the images.
            on_event: told a line whenever a trial begins or ends.
            clock: seconds that only go forward.
        """
        self.space, self.run, self.data = space, run, data
        self.running: dict[int, Live] = {}
        self.records = {record.trial: record for record in study.records()}
        self.gave_up = ""
        """The cause, once five failures in a row had the same; empty otherwise."""
        self.ended_here = 0
        """Trials that ended under this driver."""
        self._study, self._weights_files, self._event, self._clock = study, weights_files, on_event, clock
        self._begun = clock()
        self._deadline = None if space.search.hours is None else self._begun + space.search.hours * 3600
        self._abandoned = [record.trial for record in self.records.values() if record.state == "running"]
        self._asha = Asha(space.search.asha) if space.search.asha else None
        self._equal_failures: tuple[str, int] = ("", 0)
        self._tables_due = 0.0
        self._replay()

    # --- what a runner calls ----------------------------------------------------------------------------------------

    def propose(self) -> Job | None:
        """Give the next trial to run; None when the budget is spent or the search has been given up."""
        if self.over:
            return None
        job = self._take_up_abandoned() if self._abandoned else self._draw()
        self.running[job.number] = Live(job, epochs=list(self.records[job.number].epochs))
        self._event(f"trial {job.number} begins")
        return job

    @property
    def over(self) -> bool:
        """Whether no trial will be proposed any more."""
        spent = not self._abandoned and len(self.records) >= self.space.search.trials
        return spent or bool(self.gave_up) or self._late

    def on_epoch(self, number: int, epoch: EpochRecord, facts: TrialFacts, peak_memory_mb: float | None) -> bool:
        """Take in an epoch of a running trial; True if it may go on. An epoch told twice counts once."""
        live = self.running[number]
        known = {record.epoch for record in live.epochs}
        if not known:
            live.stop_reason = self._mismatch(live.job, facts)
            self._study.note(number, facts=facts.as_json())
        if epoch.epoch not in known:
            live.epochs.append(epoch)
            self._study.report(number, epoch)
            self._update_record(number, facts=facts, peak_memory_mb=peak_memory_mb)
        if not live.stop_reason:
            live.stop_reason = self._stop_reason(live, epoch)
            self._show_best()
        return not live.stop_reason

    def on_end(self, number: int, failure: str | None) -> None:
        """Take in that a trial has ended: of itself, because it was stopped, or with a failure in one line."""
        live = self.running[number]
        if failure is None and live.stop_reason.startswith(MismatchError.__name__):
            failure = live.stop_reason
        if failure is None and not live.epochs:
            failure = "ended without an epoch"
        state: State = "failed" if failure is not None else "stopped" if live.stop_reason else "complete"
        reason = failure if failure is not None else live.stop_reason
        self._study.note(number, peak_memory_mb=self.records[number].peak_memory_mb)
        self._study.finish(number, state, live.best_score, reason)
        self._update_record(number, state=state, reason=reason)
        del self.running[number]
        self.ended_here += 1
        self._count_failure(_cause(reason) if state == "failed" else "", reason)
        self._prune_losers()
        self._show_best()
        self.write_tables(force=not self.running)
        self._event(f"trial {number} {_ending(self.records[number])}")

    # --- views of the truth -----------------------------------------------------------------------------------------

    def kept(self) -> list[TrialRecord]:
        """Give the best trials, best first, whose weights are kept."""
        scored = [record for record in ranked(self.records.values()) if record.best]
        return scored[: self.space.search.keep]

    def note_test(self, number: int, scores: Mapping[str, float]) -> None:
        """Keep a trial's test scores."""
        self._study.note_test(number, scores)
        self._update_record(number, test=dict(scores))

    def write_tables(self, *, force: bool = True) -> None:
        """Rebuild leaderboard.csv and epochs.csv; unless forced, only if that would not take too much of the time."""
        started = self._clock()
        if not force and started < self._tables_due:
            return
        rows, epochs = leaderboard_rows(self.records.values()), epoch_rows(self.records.values())
        write_csv(self.run.leaderboard, leaderboard_columns(rows), rows)
        write_csv(self.run.epochs, epoch_columns(epochs), epochs)
        self._tables_due = self._clock() + (self._clock() - started) / _TABLE_TIME_SHARE

    @property
    def elapsed_seconds(self) -> float:
        """How long this driver has been at it."""
        return self._clock() - self._begun

    @property
    def seconds_to_deadline(self) -> float:
        """How much of the time budget is left; infinite without one."""
        return math.inf if self._deadline is None else max(0.0, self._deadline - self._clock())

    # --- within -----------------------------------------------------------------------------------------------------

    @property
    def _late(self) -> bool:
        return self._deadline is not None and self._clock() >= self._deadline

    def _draw(self) -> Job:
        number, drawn = self._study.ask(self.space)
        config = self._config(drawn.tree)
        folder = self.run.trial(number)
        write_yaml(folder.config, config.model_dump(mode="json"))
        values = _table_values(drawn)
        self._study.note(number, values=values, seed=config.seed, data=self.data)
        self.records[number] = TrialRecord(number, "running", config.seed, values, data=self.data)
        return Job(number, config, folder.path)

    def _config(self, tree: Any) -> TrialConfig:
        search = self.space.search
        # One seed for all: order, augmentation and head start alike, so that trials differ by their values alone.
        asked = self.space.config(
            tree, seed=search.seed, cpu_threads=max(1, int(search.per_trial.cpus)), weights_file=None
        )
        file = self._weights_files[asked.model.backbone, asked.model.weights]
        model = asked.model.model_copy(update={"weights_file": file and str(file)})
        return asked.model_copy(update={"model": model})

    def _take_up_abandoned(self) -> Job:
        number = self._abandoned.pop(0)
        folder = self.run.trial(number)
        return Job(number, load_model(folder.config, TrialConfig), folder.path)

    def _replay(self) -> None:
        """Fill ASHA's rungs from the stored epochs, as if the trials had just been judged."""
        for record in self.records.values():
            for index, epoch in enumerate(record.epochs, start=1):
                if self._asha and record.state != "failed":
                    self._asha.may_go_on(record.trial, epoch.epoch, max(past.score for past in record.epochs[:index]))

    def _stop_reason(self, live: Live, epoch: EpochRecord) -> str:
        score = max(past.score for past in live.epochs if past.epoch <= epoch.epoch)
        goes_on = self._asha is None or self._asha.may_go_on(live.job.number, epoch.epoch, score)
        if epoch.epoch >= live.job.config.training.epochs:
            return ""  # it has reached its end: nothing is saved by stopping it
        if self._asha and not goes_on:
            return f"ASHA: not among the best 1/{self._asha.reduction} at epoch {epoch.epoch}"
        if self._late:
            return "the time budget is spent"
        if self.gave_up:
            return "the search was given up"
        return ""

    def _mismatch(self, job: Job, facts: TrialFacts) -> str:
        """Hold what the live objects said of themselves against what was handed out; empty if they agree."""
        faults = compare_effective(job.config, self.run.trial(job.number).effective)
        model = job.config.model
        asked = frozen_units(model.freeze, unit_line(model), model.backbone)
        if facts.frozen_units != asked:
            faults.append(f"{asked} units were to be frozen, but {facts.frozen_units} are")
        return f"{MismatchError.__name__}: {'; '.join(faults)}" if faults else ""

    def _update_record(self, number: int, **changes: Any) -> None:
        live = self.running.get(number)
        if live:
            changes["epochs"] = tuple(live.epochs)
        self.records[number] = replace(self.records[number], **changes)

    def _count_failure(self, cause: str, reason: str) -> None:
        before, times = self._equal_failures
        self._equal_failures = (cause, times + 1 if cause == before else 1) if cause else ("", 0)
        if self._equal_failures[1] >= EQUAL_FAILURES_IN_A_ROW:
            self.gave_up = reason

    def _show_best(self) -> None:
        """Let `best` name the best trial's model; workers write theirs before they tell of the epoch."""
        best = next(iter(self.kept()), None)
        if best and (model := self.run.trial(best.trial).best).exists():
            point_to(self.run.best, model)

    def _prune_losers(self) -> None:
        """Delete the weights, and only the weights, of ended trials that are not among the best."""
        keep = {record.trial for record in self.kept()}
        for record in self.records.values():
            folder = self.run.trial(record.trial)
            if record.state == "running":
                continue
            shutil.rmtree(folder.last, ignore_errors=True)
            if record.trial not in keep and folder.best.is_symlink():
                shutil.rmtree(folder.best.resolve(), ignore_errors=True)
                folder.best.unlink()


def _table_values(drawn: Drawn) -> dict[str, Scalar]:
    """Give what was drawn by the dotted name under which the trial's files hold it.

    A section that is chosen by its kind stands there as `training.schedule.kind`.
    """
    return {_place(name, drawn.tree): value for name, value in drawn.named.items()}


def _place(name: str, tree: Any) -> str:
    for part in name.split("."):
        tree = tree[int(part)] if isinstance(tree, list) else tree[part]
    return f"{name}.kind" if isinstance(tree, dict) and "kind" in tree else name


def _cause(reason: str) -> str:
    """Give what two failures have in common if they have one cause: numbers and addresses may differ.

    Not so for diverged trials: in a wide range of learning rates they are part of a sound search.
    """
    return reason if reason.startswith(DivergedError.__name__) else re.sub(r"0x[0-9a-f]+|\d+", "#", reason)


def _ending(record: TrialRecord) -> str:
    best = record.best
    if best is None:
        return f"failed: {record.reason}"
    score = f"{best.score:.4f} at epoch {best.epoch} of {len(record.epochs)}"
    return f"{record.state} with {score}" + (f" ({record.reason})" if record.reason else "")
