"""Which models of a run stand on disk: the best trials' alone, and `best` names the best of them at any moment."""

from collections.abc import Iterable, Sequence

from tune_cnn.files import point_to
from tune_cnn.results.best_model import bring_up_to_date
from tune_cnn.results.leaderboard import ranked
from tune_cnn.results.records import RunFolder, TrialRecord
from tune_cnn.results.trial_files import delete_checkpoint, delete_weights
from tune_cnn.search.finalists import finalists


class Shelf:
    """Keeps the weights of the `keep` best trials that have ended, and of all that run."""

    def __init__(self, run: RunFolder, keep: int, *, finals_top: int = 0) -> None:
        """Take up the models of a run; `finals_top` is how many configurations its finals compare, 0 without finals."""
        self._run, self._keep, self._finals_top = run, keep, finals_top
        self._bare: set[int] = set()
        self._shelved: set[int] = set()

    def kept(self, records: Iterable[TrialRecord]) -> list[TrialRecord]:
        """Give the ended trials whose weights are kept, best first.

        Running trials take nobody's place: they may yet fail, and then the next best must still have its weights.
        """
        return [record for record in ranked(records) if record.best and record.state != "running"][: self._keep]

    def show_best(self, records: Iterable[TrialRecord]) -> None:
        """Let `best` name the best trial's model, running trials included: a worker writes before it tells.

        Where no trial has a model, there is no `best`. The winner of finals keeps its place for as long as its
        configuration would come into them again: only new finals decide otherwise.
        """
        records = list(records)
        if self._names_a_finalist(records):
            return
        models = (self._run.trial(record.trial).best for record in ranked(records) if record.best)
        model = next((model for model in models if model.exists()), None)
        if model:
            point_to(self._run.best, model)
        elif self._run.best.is_symlink():
            self._run.best.unlink()

    def _names_a_finalist(self, records: Sequence[TrialRecord]) -> bool:
        model = self._run.best.resolve()
        if not (self._finals_top and self._run.best.is_symlink() and model.exists()):
            return False
        folders = {
            self._run.final(record.trial, 1).path.resolve().name.rpartition("-")[0]
            for record in finalists(records, self._finals_top)
        }
        heat = model.parent
        return heat.parent == self._run.final(0, 1).path.resolve().parent and heat.name.rpartition("-")[0] in folders

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
                bring_up_to_date(self._run.trial(record.trial))  # one that was stopped had no time for it
                delete_checkpoint(self._run.trial(record.trial))
                self._shelved.add(record.trial)
