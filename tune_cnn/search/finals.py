"""The finals of a search: its best configurations trained again with other seeds. Knows neither Ray nor torch.

One number decided the search, and with many trials the best one is partly luck. The repeats have seeds that the search
never saw, are never stopped early, and wait for nobody.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tune_cnn.config import TrialConfig
from tune_cnn.planning.forecast import Forecast
from tune_cnn.planning.slots import change_text
from tune_cnn.results.display import clock_text
from tune_cnn.results.records import EpochRecord, RunFolder, TrialFacts, TrialFolder, TrialRecord
from tune_cnn.results.trial_files import delete_checkpoint
from tune_cnn.search.budget import Budget
from tune_cnn.search.finalists import finalists, repeats_of
from tune_cnn.search.jobs import Job, Jobs
from tune_cnn.search.live import Live
from tune_cnn.search.mismatch import mismatch
from tune_cnn.search.retries import Loss, is_lost
from tune_cnn.search.session import Event
from tune_cnn.search.study import Study
from tune_cnn.sections.search import FinalsConfig
from tune_cnn.yaml_files import write_yaml

_SECONDS_OF_SILENCE = 30.0
_LEAST_SECONDS_SHOWN = 0.5
"""What is less would be shown as none, with a training still at work."""


@dataclass(frozen=True)
class Heat:
    """One training of the finals: which trial's configuration, and the how-manieth repeat, counted from 1."""

    trial: int
    repeat: int

    @property
    def key(self) -> str:
        """The name under which the study keeps it."""
        return f"{self.trial}:{self.repeat}"

    def folder(self, run: RunFolder) -> TrialFolder:
        """Give the folder of this training, whether it exists or not."""
        return run.final(self.trial, self.repeat)


class FinalsSession:
    """Proposes every repeat of the best configurations that the study does not hold yet, while the budget lasts."""

    def __init__(
        self,
        config: FinalsConfig,
        records: Iterable[TrialRecord],
        jobs: Jobs,
        study: Study,
        run: RunFolder,
        *,
        budget: Budget,
        on_event: Event = lambda _text: None,
        forecast: Forecast | None = None,
    ) -> None:
        """Take up the finals, new or interrupted.

        Args:
            config: how many configurations and repeats.
            records: the trials of the search, all of which have ended.
            jobs: makes jobs with images and weights where they lie now.
            study: keeps what has ended.
            run: the folder of the search.
            budget: the time that search and finals share.
            on_event: told a line whenever a repeat begins or ends, and once if the time runs out.
            forecast: says how long they will still take, by the trials of the search; None for none.
        """
        self.run = run
        self.finalists = finalists(records, config.top)
        self._jobs, self._study, self._budget, self._event = jobs, study, budget, on_event
        self._ended = study.finals()
        # The first repeat of each goes before the second of any: should time run out, all have been tried alike.
        turns = range(1, config.repeats + 1)
        self.heats = tuple(
            Heat(record.trial, repeat)
            for repeat in turns
            for record in self.finalists
            if repeat <= repeats_of(record, config)
        )
        self._waiting = [heat for heat in self.heats if heat.key not in self._ended]
        self._running: dict[int, tuple[Heat, Live]] = {}
        self._peaks: dict[int, float] = {}
        self._told_late = False
        self._told = 0.0
        self._forecast = forecast
        for heat in self.heats:
            if heat.key in self._ended:  # a kill may have come between noting the end and deleting
                delete_checkpoint(heat.folder(run))
        self._tell_if_late()

    @property
    def what(self) -> str:
        """Say what is about to be done."""
        best, left = len(self.finalists), len(self._waiting)
        whose = "the best configuration" if best == 1 else f"the best {best} configurations"
        return f"finals: {whose} trained anew with other seeds, to the last epoch; {left} of {len(self.heats)} are left"

    @property
    def over(self) -> bool:
        """Whether nothing more will be trained."""
        return not self._waiting or self._late

    def propose(self) -> Job | None:
        """Give the next repeat to train; None when all have been given or the time is spent."""
        self._tell_if_late()
        if self.over:
            return None
        heat = self._waiting.pop(0)
        number = self.heats.index(heat)
        asked = self._asked(heat)
        losses = tuple(Loss.from_json(kept) for kept in self._study.final_losses(heat.key))
        job = replace(self._jobs.repeat(asked, number, heat.folder(self.run), seed_step=heat.repeat), losses=losses)
        write_yaml(heat.folder(self.run).config, job.config.model_dump(mode="json"))
        self._running[number] = (heat, Live(job, epochs=self._study.final_epochs(heat.key)))
        self._tell(heat, "begins")
        return job

    def on_epoch(self, number: int, epoch: EpochRecord, facts: TrialFacts, peak_memory_mb: float | None) -> bool:
        """Take in an epoch; True unless the live objects differ from what was handed out.

        A repeat that was interrupted tells of its past again; only what is new can be held against its live objects.
        """
        heat, live = self._running[number]
        before = live.take_in(epoch)
        self._peaks[number] = max(self._peaks.get(number, 0.0), peak_memory_mb or 0.0)
        if before is None and not live.stop_reason and live.read_back != epoch.phase:
            live.stop_reason = mismatch(live, heat.folder(self.run), epoch.phase, facts)
        if not live.stop_reason:  # a fault that a kill made forget is found again
            self._study.note_final_epoch(heat.key, epoch)
        self._tell_now_and_then(heat, live)
        return not live.stop_reason

    def on_read_back(self, number: int, tree: Mapping[str, Any]) -> None:
        """Take in what a repeat's effective.yaml holds, before the epoch that is told with it."""
        _, live = self._running[number]
        live.read_back_tree = tree

    def on_end(self, number: int, failure: str | None) -> None:
        """Take in that a repeat has ended: of itself or with a failure in one line."""
        heat, live = self._running.pop(number)
        failure = failure or live.stop_reason or ("" if live.epochs else "ended without an epoch")
        outcome = {
            "failure": failure,
            "seed": live.job.config.seed,
            "score": live.best_score,
            "seconds": sum(epoch.seconds for epoch in live.epochs),
            "peak_memory_mb": self._peaks.get(number) or None,
            "ms_per_image": min((each.ms_per_image for each in live.epochs if each.ms_per_image), default=None),
        }
        self._ended[heat.key] = outcome
        self._study.note_seconds(self._budget.spent_seconds)
        if is_lost(failure):  # what killed it may be gone when the search goes on: then it goes on too, counted anew
            self._study.note_final_losses(heat.key, [])
        else:
            self._study.note_final(heat.key, outcome)
            delete_checkpoint(heat.folder(self.run))
        self._tell(heat, f"failed: {failure}" if failure else f"ended with {live.best_score:.4f}")

    def next_epoch(self, number: int) -> int:
        """Give the epoch that a running repeat is in."""
        _, live = self._running[number]
        return live.next_epoch

    def on_retry(self, number: int, text: str, losses: Sequence[Loss]) -> None:
        """Take in that a repeat was interrupted and goes on elsewhere; `losses` are all it has had."""
        heat, _ = self._running[number]
        self._study.note_final_losses(heat.key, [loss.as_json() for loss in losses])
        self._tell(heat, text)

    def on_slots(self, concurrent: int) -> None:
        """Take in that from now on so many repeats can run at a time; 0 while there is no machine for any."""
        if self._forecast:
            self._forecast.slots = max(1, concurrent)
        self._event(change_text(concurrent))

    def on_waiting(self, text: str) -> None:
        """Take in that repeats find no worker: how many, for people."""
        self._event(text)

    def outcomes(self) -> Mapping[Heat, Mapping[str, Any]]:
        """Give what is known of the repeats that have ended.

        Returns:
            failure (empty for none), seed, best score, seconds, peak_memory_mb and ms_per_image (None if unknown).
        """
        return {heat: self._ended[heat.key] for heat in self.heats if heat.key in self._ended}

    @property
    def _late(self) -> bool:
        return self._budget.whole_seconds_left == 0

    def _tell_if_late(self) -> None:
        if self._waiting and self._late and not self._told_late:
            self._told_late = True
            self._event(
                f"the time budget is spent: {len(self._waiting)} of {len(self.heats)} repeats of the finals are left "
                "out; write --hours N for more"
            )

    def _tell_now_and_then(self, heat: Heat, live: Live) -> None:
        """Say how far a repeat is, if nothing has been said for a while."""
        if self._budget.elapsed_seconds >= self._told + _SECONDS_OF_SILENCE:
            self._tell(heat, f"epoch {len(live.epochs)} of {live.job.config.training.epochs}")

    def _tell(self, heat: Heat, text: str) -> None:
        self._told = self._budget.elapsed_seconds
        standing = f"{len(self.outcomes())}/{len(self.heats)}{self._left_text()}"
        self._event(f"final of trial {heat.trial}, repeat {heat.repeat}, {text}  [{standing}]")

    def _left_text(self) -> str:
        if self._forecast is None:
            return ""
        waiting = [self._asked(heat) for heat in self._waiting]
        running = [(live.job.config, len(live.epochs)) for _, live in self._running.values()]
        left = self._forecast.finals_seconds_left(waiting, running)
        return f", {clock_text(left)} left" if left >= _LEAST_SECONDS_SHOWN else ""

    def _asked(self, heat: Heat) -> TrialConfig:
        return self._jobs.asked(heat.trial, self._study)
