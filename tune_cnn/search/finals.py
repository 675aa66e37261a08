"""The finals of a search: its best configurations trained again with other seeds. Knows neither Ray nor torch.

One number decided the search, and with many trials the best one is partly luck. The repeats have seeds that the search
never saw, are never stopped early, and wait for nobody.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tune_cnn.config import TrialConfig
from tune_cnn.results.records import EpochRecord, RunFolder, TrialFacts, TrialFolder, TrialRecord
from tune_cnn.results.trial_files import delete_checkpoint
from tune_cnn.search.finalists import finalists
from tune_cnn.search.jobs import Job, Jobs
from tune_cnn.search.mismatch import mismatch
from tune_cnn.search.session import Event, Live
from tune_cnn.search.study import Study
from tune_cnn.sections.search import FinalsConfig
from tune_cnn.yaml_files import load_model, write_yaml


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
    """Proposes every repeat of the best configurations that the study does not hold yet."""

    def __init__(
        self,
        config: FinalsConfig,
        records: Iterable[TrialRecord],
        jobs: Jobs,
        study: Study,
        run: RunFolder,
        *,
        on_event: Event = lambda _text: None,
    ) -> None:
        """Take up the finals, new or interrupted.

        Args:
            config: how many configurations and repeats.
            records: the trials of the search, all of which have ended.
            jobs: makes jobs with images and weights where they lie now.
            study: keeps what has ended.
            run: the folder of the search.
            on_event: told a line whenever a repeat begins or ends.
        """
        self.run = run
        self.finalists = finalists(records, config.top)
        self._jobs, self._study, self._event = jobs, study, on_event
        self._ended = study.finals()
        heats = (Heat(record.trial, repeat) for record in self.finalists for repeat in range(1, config.repeats + 1))
        self.heats = tuple(heats)
        self._waiting = [heat for heat in self.heats if heat.key not in self._ended]
        self._running: dict[int, tuple[Heat, Live]] = {}

    @property
    def over(self) -> bool:
        """Whether nothing is left to be trained."""
        return not self._waiting

    def propose(self) -> Job | None:
        """Give the next repeat to train; None when all have been given."""
        if not self._waiting:
            return None
        heat = self._waiting.pop(0)
        number = self.heats.index(heat)
        asked = load_model(self.run.trial(heat.trial).config, TrialConfig)
        job = self._jobs.repeat(asked, number, heat.folder(self.run), seed_step=heat.repeat)
        write_yaml(heat.folder(self.run).config, job.config.model_dump(mode="json"))
        self._running[number] = (heat, Live(job))
        self._event(f"final of trial {heat.trial}, repeat {heat.repeat}, begins")
        return job

    def on_epoch(self, number: int, epoch: EpochRecord, facts: TrialFacts, _peak_memory_mb: float | None) -> bool:
        """Take in an epoch; True unless the live objects differ from what was handed out."""
        heat, live = self._running[number]
        live.epochs = [*(past for past in live.epochs if past.epoch != epoch.epoch), epoch]
        if not live.stop_reason and live.read_back != epoch.phase:
            live.read_back = epoch.phase
            live.stop_reason = mismatch(live.job.config, heat.folder(self.run), epoch.phase, facts)
        return not live.stop_reason

    def on_end(self, number: int, failure: str | None) -> None:
        """Take in that a repeat has ended: of itself or with a failure in one line."""
        heat, live = self._running.pop(number)
        failure = failure or live.stop_reason or ("" if live.epochs else "ended without an epoch")
        outcome = {"failure": failure, "seed": live.job.config.seed, "score": live.best_score}
        self._study.note_final(heat.key, outcome)
        self._ended[heat.key] = outcome
        delete_checkpoint(heat.folder(self.run))
        ending = f"failed: {failure}" if failure else f"ended with {live.best_score:.4f}"
        self._event(f"final of trial {heat.trial}, repeat {heat.repeat}, {ending}")

    def outcomes(self) -> Mapping[Heat, Mapping[str, Any]]:
        """Give what is known of the repeats that have ended: failure (empty for none), seed and best score."""
        return {heat: self._ended[heat.key] for heat in self.heats if heat.key in self._ended}
