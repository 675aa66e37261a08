"""Which models of a run stand on disk: the best trials' alone, and `best` names the best of them at any moment."""

from collections.abc import Iterable, Sequence

from tune_cnn.files import point_to
from tune_cnn.results.leaderboard import ranked
from tune_cnn.results.records import RunFolder, TrialRecord
from tune_cnn.results.trial_files import delete_checkpoint, delete_weights


class Shelf:
    """Keeps the weights of the `keep` best trials that have ended, and of all that run."""

    def __init__(self, run: RunFolder, keep: int) -> None:
        self._run, self._keep = run, keep
        self._bare: set[int] = set()
        self._shelved: set[int] = set()

    def kept(self, records: Iterable[TrialRecord]) -> list[TrialRecord]:
        """Give the ended trials whose weights are kept, best first.

        Running trials take nobody's place: they may yet fail, and then the next best must still have its weights.
        """
        return [record for record in ranked(records) if record.best and record.state != "running"][: self._keep]

    def show_best(self, records: Iterable[TrialRecord]) -> None:
        """Let `best` name the best trial's model, running trials included: a worker writes before it tells.

        Where no trial has a model, there is no `best`.
        """
        models = (self._run.trial(record.trial).best for record in ranked(records) if record.best)
        model = next((model for model in models if model.exists()), None)
        if model:
            point_to(self._run.best, model)
        elif self._run.best.is_symlink():
            self._run.best.unlink()

    def prune(self, records: Sequence[TrialRecord]) -> None:
        """Delete the checkpoints of ended trials, and the weights, and only those, of all but the kept ones."""
        keep = {record.trial for record in self.kept(records)}
        for record in records:
            if record.state == "running" or record.trial in self._bare:
                continue
            if record.trial not in keep:
                delete_weights(self._run.trial(record.trial))
                self._bare.add(record.trial)
            elif record.trial not in self._shelved:
                delete_checkpoint(self._run.trial(record.trial))
                self._shelved.add(record.trial)
