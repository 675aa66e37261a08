"""Which running trials may go on: by their live objects, by ASHA, by the time that is left."""

from collections.abc import Iterable

from tune_cnn.asha import Asha
from tune_cnn.results.records import EpochRecord, RunFolder, TrialFacts, TrialRecord
from tune_cnn.search.alike import AlikeFailures
from tune_cnn.search.budget import Budget
from tune_cnn.search.live import Live
from tune_cnn.search.mismatch import mismatch
from tune_cnn.sections.search import SearchConfig


class Verdicts:
    """Judges each new epoch of a running trial once."""

    def __init__(self, search: SearchConfig, run: RunFolder, budget: Budget, records: Iterable[TrialRecord]) -> None:
        """Begin to judge.

        Args:
            search: what ASHA is asked for.
            run: in whose folders trials write what they read back.
            budget: the time that is left.
            records: what earlier drivers were told. ASHA's rungs are filled as they were when those trials ran.
        """
        self._run, self._budget = run, budget
        self._asha = Asha(search.asha) if search.asha else None
        self._alike = AlikeFailures()
        for record in records:
            if record.state != "failed" and not record.outside:
                self._replay(record)

    @property
    def gave_up(self) -> str:
        """The cause, once five failures in a row had the same; empty otherwise."""
        return self._alike.gave_up

    def stop_reason(self, live: Live, epoch: EpochRecord, facts: TrialFacts) -> str:
        """Say why a trial ends with an epoch; empty if it goes on, or has reached its end.

        Args:
            live: the trial, which has taken in the epoch.
            epoch: one that was not told before.
            facts: of the trial.

        Raises:
            SpaceFileError: its effective.yaml is missing or damaged.
        """
        return self._mismatch(live, epoch, facts) or self._cut_short(live, epoch)

    def on_end(self, record: TrialRecord) -> None:
        """Take in how a trial has ended: one that failed is nobody's measure."""
        failed = record.state == "failed"
        if failed and self._asha:
            self._asha.forget(record.trial)
        self._alike.count(record.reason if failed else "")

    def _replay(self, record: TrialRecord) -> None:
        best = float("-inf")
        for epoch in record.epochs:
            best = max(best, epoch.score)
            if self._asha:
                self._asha.may_go_on(record.trial, epoch.epoch, best)

    def _mismatch(self, live: Live, epoch: EpochRecord, facts: TrialFacts) -> str:
        """Compare what was read back: at the first epoch this driver hears of, and whenever a phase has begun."""
        if live.read_back == epoch.phase:
            return ""
        return mismatch(live, self._run.trial(live.job.number), epoch.phase, facts)

    def _cut_short(self, live: Live, epoch: EpochRecord) -> str:
        score = max(past.score for past in live.epochs if past.epoch <= epoch.epoch)
        goes_on = self._asha is None or self._asha.may_go_on(live.job.number, epoch.epoch, score)
        if epoch.epoch >= live.job.config.training.epochs:
            return ""  # it has reached its end: nothing is saved by stopping it
        if self._asha and not goes_on:
            return f"ASHA: not among the best 1/{self._asha.reduction} at epoch {epoch.epoch}"
        if self._budget.late:
            return "the time budget is spent"
        if self.gave_up:
            return "the search was given up"
        return ""
