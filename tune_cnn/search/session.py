"""One search, as its driver sees it: what is tried next, who may go on, what is kept. Knows neither Ray nor torch.

Whoever runs trials (Ray in `runner.py`, a plain loop in a test) calls `propose`, `on_epoch` and `on_end`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tune_cnn.config import TrialConfig
from tune_cnn.errors import MismatchError
from tune_cnn.planning.forecast import Forecast, Moment
from tune_cnn.planning.slots import change_text
from tune_cnn.results.leaderboard import place_of
from tune_cnn.results.records import EpochRecord, RunFolder, State, TrialFacts, TrialRecord
from tune_cnn.search.budget import Budget
from tune_cnn.search.commands import extend_command
from tune_cnn.search.estimate import Estimate
from tune_cnn.search.finalists import finals_seconds
from tune_cnn.search.jobs import Job, Jobs, table_values
from tune_cnn.search.live import Live
from tune_cnn.search.live_tables import LiveTables
from tune_cnn.search.retries import Loss
from tune_cnn.search.shelf import Shelf
from tune_cnn.search.study import Study
from tune_cnn.search.unwritten import Told, Unwritten
from tune_cnn.search.verdicts import Verdicts
from tune_cnn.space.nodes import Drawn
from tune_cnn.space.schema import Space
from tune_cnn.yaml_files import write_yaml

_SECONDS_BETWEEN_NOTES = 10.0
# Trials of earlier drivers that a forecast begins with: making their configs takes time.
_MOST_RECALLED = 30


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
            study: the truth; trials that a dead driver left running are taken up again, or closed if it had already
                decided to stop them.
            run: the folder for tables and trials.
            weights_files: the local file for each (backbone, weights); resolved before the first trial.
            data: the fingerprint of the images.
            on_event: told a line whenever a trial begins or ends.
            clock: seconds that only go forward.

        Raises:
            StoreError: the study cannot be read or written; so do the methods below.
        """
        self.space, self.run, self.data = space, run, data
        self.running: dict[int, Live] = {}
        self.records = {record.trial: record for record in study.records()}
        with_finals = space.search.finals is not None
        self.budget = Budget(
            space.search,
            seconds_before=study.seconds(),
            clock=clock,
            reserved_before=study.reserved() if with_finals else 0.0,
            finals_begun=study.finals_begun() if with_finals else None,
            more_trials=extend_command(run.path, 2 * space.search.trials),
        )
        self._study, self._event, self._clock = study, on_event, clock
        self.jobs = Jobs(space, run, weights_files=weights_files, data=data)
        self._shelf = Shelf(run, space.search.keep, finals_top=space.search.finals.top if space.search.finals else 0)
        self._tables = LiveTables(run, space.search.measures, clock)
        self._unwritten = Unwritten(study, clock)
        self._most_at_once = 1
        self._seconds_due = 0.0
        self._estimate: Estimate | None = None
        self._close_decided()
        self._verdicts = Verdicts(space.search, run, self.budget, self.records.values())
        self._abandoned = [record.trial for record in self.records.values() if record.state == "running"]
        self._shelf.take_up(self.records)

    def begin_forecast(self, forecast: Forecast) -> None:
        """Say from now on how long the search will still take; knows what earlier drivers were told."""
        ended = [
            record
            for record in self.records.values()
            if record.epochs and record.state != "running" and not record.outside
        ]
        for record in ended[-_MOST_RECALLED:]:
            config = self._config_of(record.trial)
            for epoch in record.epochs:
                forecast.on_epoch(record.trial, config, epoch)
        self._estimate = Estimate(
            forecast, self._study, self.space.search, self.budget, moment=self._moment, clock=self._clock
        )

    # --- what a runner calls ----------------------------------------------------------------------------------------

    def propose(self) -> Job | None:
        """Give the next trial to run; None when the budget is spent or the search has been given up."""
        if self.over:
            return None
        job = self._take_up(self._abandoned.pop(0)) if self._abandoned else self._draw()
        self.running[job.number] = Live(job, epochs=list(self.records[job.number].epochs))
        self._most_at_once = max(self._most_at_once, len(self.running))
        if self._estimate:
            self._estimate.on_begin(job.number)
        self._event(f"trial {job.number} begins")
        return job

    @property
    def over(self) -> bool:
        """Whether no trial will be proposed any more."""
        return bool(self.spent or self.gave_up)

    @property
    def spent(self) -> str:
        """Say which budget is spent, and how to get more; empty while there is something to do."""
        return self.budget.spent(0 if self._abandoned else len(self.records))

    @property
    def gave_up(self) -> str:
        """The cause, once five failures in a row had the same; empty otherwise."""
        return self._verdicts.gave_up

    def on_epoch(self, number: int, epoch: EpochRecord, facts: TrialFacts, peak_memory_mb: float | None) -> bool:
        """Take in an epoch of a running trial; True if it may go on.

        An epoch told twice counts once and is judged once: a trial that was interrupted tells of its past again, and
        by now it would be measured against trials that came after it.
        """
        live = self.running[number]
        before = live.take_in(epoch)
        if before is None:
            live.stop_reason = live.stop_reason or self._verdicts.stop_reason(live, epoch, facts)
        if before != epoch:
            is_first = self.records[number].facts is None
            self._unwritten.add(Told(number, epoch, live.stop_reason, facts if is_first else None))
        self._update_record(number, facts=facts, peak_memory_mb=peak_memory_mb)
        if self._estimate and before is None:
            self._estimate.on_epoch(number, live.job.config, epoch)
        self._note_seconds(force=False)
        self._shelf.on_score(self.records[number], self.records)
        return not live.stop_reason

    def on_read_back(self, number: int, tree: Mapping[str, Any]) -> None:
        """Take in what a running trial's effective.yaml holds, before the epoch that is told with it."""
        self.running[number].read_back_tree = tree

    def on_end(self, number: int, failure: str | None) -> None:
        """Take in that a trial has ended: of itself, because it was stopped, or with a failure in one line."""
        live = self.running[number]
        if failure is None and not live.epochs:
            failure = "ended without an epoch"
        with self._study.at_once():
            self._unwritten.write()
            self._close(number, live.stop_reason, failure)
            self._reserve()
            self._note_seconds(force=True)
        del self.running[number]
        if self._estimate:
            self._estimate.on_end(number)
        record = self.records[number]
        self._verdicts.on_end(record)
        self._shelf.on_end(record, self.records)
        self.write_tables(force=self.over and not self.running)
        self._event(f"trial {number} {_ending(record)}")

    def next_epoch(self, number: int) -> int:
        """Give the epoch that a running trial is in."""
        return self.running[number].next_epoch

    def on_retry(self, number: int, text: str, losses: Sequence[Loss]) -> None:
        """Take in that a running trial was interrupted and goes on elsewhere; `losses` are all it has had."""
        self._study.note(number, losses=[loss.as_json() for loss in losses])
        self._event(f"trial {number} {text}")

    def on_slots(self, concurrent: int) -> None:
        """Take in that from now on so many trials can run at a time; 0 while there is no machine for any."""
        if self._estimate:
            self._estimate.on_slots(concurrent)
        self._event(change_text(concurrent))

    def on_waiting(self, text: str) -> None:
        """Take in that trials find no worker: how many, for people."""
        self._event(text)

    @property
    def forecast(self) -> Forecast | None:
        """What knows by now how long configurations take; None before `begin_forecast`."""
        return self._estimate.forecast if self._estimate else None

    @property
    def seconds_left(self) -> float | None:
        """The estimate of what trials and finals will still take; None as long as there is nothing to go by."""
        return self._estimate.seconds_left if self._estimate else None

    def estimate_text(self) -> str:
        """Say how far off the first estimate was; empty if there was none, or nothing was run."""
        return self._estimate.text() if self._estimate else ""

    # --- views of the truth -----------------------------------------------------------------------------------------

    def kept(self) -> list[TrialRecord]:
        """Give the ended trials whose weights are kept, best first."""
        return [self.records[number] for number in self._shelf.kept]

    def is_among_best(self, number: int) -> bool:
        """Whether a trial's weights would be kept if it ended now."""
        record, kept = self.records[number], self.kept()
        is_best = len(kept) < self.space.search.keep or place_of(record) < place_of(kept[-1])
        return record.best is not None and is_best

    def note_test(self, number: int, scores: Mapping[str, float]) -> None:
        """Keep a trial's test scores."""
        self._study.note_test(number, scores)
        self._update_record(number, test=dict(scores))

    def write_tables(self, *, force: bool = True) -> None:
        """Rebuild leaderboard.csv and epochs.csv; unless forced, only if that would not take too much of the time."""
        self._tables.write(self.records.values(), force=force)

    # --- within -----------------------------------------------------------------------------------------------------

    def _draw(self) -> Job:
        with self._study.at_once():
            self._unwritten.write()  # before: a suggestion is made by what is known
            number, drawn = self._study.ask(self.space)
            job = self._noted(number, drawn)
        return self._begun(job, drawn)

    def _take_up(self, number: int) -> Job:
        """Give an interrupted trial again: the same values, with images and weights where they lie now.

        Its values come from the study and not from config.yaml: the driver may have died before that was written.
        """
        drawn = self._study.ask_again(number, self.space)
        with self._study.at_once():
            job = self._noted(number, drawn)
        losses = tuple(Loss.from_json(kept) for kept in self._study.losses(number))
        return self._begun(replace(job, losses=losses), drawn)

    def _noted(self, number: int, drawn: Drawn) -> Job:
        job = self.jobs.make(number, drawn)
        self._study.note(number, values=table_values(drawn), seed=job.config.seed, data=self.data)
        return job

    def _begun(self, job: Job, drawn: Drawn) -> Job:
        number, values = job.number, table_values(drawn)
        write_yaml(self.run.trial(number).config, job.config.model_dump(mode="json"), durable=False)
        before = self.records.get(number, TrialRecord(number, "running", job.config.seed, values))
        self.records[number] = replace(before, seed=job.config.seed, values=values, data=self.data)
        return job

    def _close_decided(self) -> None:
        """Close the trials that a dead driver had decided to stop, but not come to close."""
        for record in [record for record in self.records.values() if record.state == "running" and record.reason]:
            self._close(record.trial, record.reason, None)

    def _close(self, number: int, stop_reason: str, failure: str | None) -> None:
        """Tell the study how a trial ended."""
        record = self.records[number]
        if failure is None and stop_reason.startswith(MismatchError.__name__):
            failure = stop_reason
        state: State = "failed" if failure is not None else "stopped" if stop_reason else "complete"
        reason = failure if failure is not None else stop_reason
        self._study.note(number, peak_memory_mb=record.peak_memory_mb)
        self._study.finish(number, state, max((epoch.score for epoch in record.epochs), default=None), reason)
        self._update_record(number, state=state, reason=reason)

    def _update_record(self, number: int, **changes: Any) -> None:
        live = self.running.get(number)
        if live:
            changes["epochs"] = tuple(live.epochs)
        self.records[number] = replace(self.records[number], **changes)

    def _moment(self) -> Moment:
        running = {number: live.job.config for number, live in self.running.items()}
        return Moment(list(self.records.values()), running, self.budget.whole_seconds_left)

    def _reserve(self) -> None:
        """Keep time for the finals, by what trials have taken so far."""
        config, records = self.space.search.finals, list(self.records.values())
        self.budget.reserve(finals_seconds(config, records, self._config_of, self._most_at_once))

    def _config_of(self, number: int) -> TrialConfig:
        return self.jobs.asked(number, self._study)

    def _note_seconds(self, *, force: bool) -> None:
        """Keep the time that is spent, so that a kill forgets little of it."""
        now = self._clock()
        if force or now >= self._seconds_due:
            self._study.note_seconds(self.budget.spent_seconds)
            self._study.note_reserved(self.budget.reserved_seconds)
            self._seconds_due = now + _SECONDS_BETWEEN_NOTES


def _ending(record: TrialRecord) -> str:
    best = record.best
    if best is None:
        return f"failed: {record.reason}"
    score = f"{best.score:.4f} at epoch {best.epoch} of {len(record.epochs)}"
    return f"{record.state} with {score}" + (f" ({record.reason})" if record.reason else "")
