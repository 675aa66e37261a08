"""Which models of a run stand on disk: the best trials' alone, and `best` names the best of them at any moment."""

from bisect import insort
from collections.abc import Iterable, Mapping, Sequence

from tune_cnn.files import point_to
from tune_cnn.results.best_model import bring_up_to_date
from tune_cnn.results.leaderboard import place_of, ranked
from tune_cnn.results.records import RunFolder, TrialRecord
from tune_cnn.results.trial_files import delete_checkpoint, delete_weights
from tune_cnn.search.finalists import finalists

Records = Mapping[int, TrialRecord]


class Shelf:
    """Keeps the weights of the `keep` best trials that have ended, and of all that run.

    Looks through all trials once; after that, only at the one that something has happened to.
    """

    def __init__(self, run: RunFolder, keep: int, *, finals_top: int = 0) -> None:
        """Take up the models of a run; `finals_top` is how many configurations its finals compare, 0 without finals."""
        self._run, self._keep, self._finals_top = run, keep, finals_top
        self._kept: list[TrialRecord] = []
        self._leader: TrialRecord | None = None
        """The best trial that has a model."""

    @property
    def kept(self) -> list[int]:
        """Give the ended trials whose weights are kept, best first.

        Running trials take nobody's place: they may yet fail, and then the next best must still have its weights.
        """
        return [record.trial for record in self._kept]

    def take_up(self, records: Records) -> None:
        """Bring what earlier drivers left in line with the records; `best` moves on before what it names can go."""
        self._find_leader(records)
        for record in records.values():
            if record.state != "running":
                self._shelve(record)

    def on_score(self, record: TrialRecord, records: Records) -> None:
        """Take in that a running trial has one more epoch: a worker writes its model before it tells."""
        leads = self._leader is None or place_of(record) < place_of(self._leader)
        if record.best and leads and self._run.trial(record.trial).best.exists():
            moves = self._leader is None or self._leader.trial != record.trial
            self._leader = record
            if moves:
                self._show_leader(records)

    def on_end(self, record: TrialRecord, records: Records) -> None:
        """Take in that a trial has ended; `best` moves on before what it names can go."""
        if self._leader is not None and self._leader.trial == record.trial:
            self._find_leader(records)
        else:
            self.on_score(record, records)  # the model of one that ran elsewhere is here only now
            if self._finals_top:  # who comes into the next ones may have changed
                self._show_leader(records)
        self._shelve(record)

    def _find_leader(self, records: Records) -> None:
        best_first = (record for record in ranked(records.values()) if record.best)
        self._leader = next((each for each in best_first if self._run.trial(each.trial).best.exists()), None)
        self._show_leader(records)

    def _show_leader(self, records: Records) -> None:
        """Let `best` name the best trial's model, running trials included; where no trial has one, there is no `best`.

        The winner of finals keeps its place for as long as its configuration would come into them again: only new
        finals decide otherwise.
        """
        if self._names_a_finalist(records.values()):
            return
        if self._leader is not None:
            point_to(self._run.best, self._run.trial(self._leader.trial).best)
        elif self._run.best.is_symlink():
            self._run.best.unlink()

    def _names_a_finalist(self, records: Iterable[TrialRecord]) -> bool:
        if not (self._finals_top and self._run.best.is_symlink()):
            return False
        heat = self._run.best.resolve().parent
        if heat.parent != self._run.final(0, 1).path.resolve().parent or not self._run.best.exists():
            return False
        folders = {
            self._run.final(record.trial, 1).path.resolve().name.rpartition("-")[0]
            for record in finalists(records, self._finals_top)
        }
        return heat.name.rpartition("-")[0] in folders

    def _shelve(self, record: TrialRecord) -> None:
        """Keep the weights of an ended trial if it is among the best, and delete those of whom it displaces."""
        if record.best is None:
            delete_weights(self._run.trial(record.trial))
            return
        insort(self._kept, record, key=place_of)
        gone: Sequence[TrialRecord] = self._kept[self._keep :]
        del self._kept[self._keep :]
        if record not in gone:
            bring_up_to_date(self._run.trial(record.trial))  # one that was stopped had no time for it
            delete_checkpoint(self._run.trial(record.trial))
        for each in gone:
            delete_weights(self._run.trial(each.trial))
