"""Asynchronous successive halving by our own epoch counter, in its stopping form.

A trial is judged once at each rung, against those that came before (Li et al., 2020: "A System for Massively Parallel
Hyperparameter Tuning").
"""

from tune_cnn.sections.search import AshaConfig


class Asha:
    """Knows what every trial scored at every rung, and says who may go on. Rebuilt from stored epochs at a resume."""

    def __init__(self, config: AshaConfig) -> None:
        self.grace_epochs = config.grace_epochs
        self.reduction = config.reduction
        self._rungs: dict[int, dict[int, float]] = {}

    def is_rung(self, epoch: int) -> bool:
        """Whether trials are judged after this epoch: the grace, times the reduction, times it again, and so on."""
        while epoch > self.grace_epochs and epoch % self.reduction == 0:
            epoch //= self.reduction
        return epoch == self.grace_epochs

    def may_go_on(self, trial: int, epoch: int, best_score: float) -> bool:
        """Judge a trial after an epoch; True between rungs. Judging twice at one rung counts once.

        Args:
            trial: its number.
            epoch: the epoch it has just finished, counted from 1.
            best_score: its best score so far, higher is better. The best counts, not the last, because the best epoch's
                weights are what the trial will be ranked by.
        """
        if not self.is_rung(epoch):
            return True
        rung = self._rungs.setdefault(epoch, {})
        rung[trial] = best_score
        promoted = len(rung) // self.reduction
        if promoted == 0:
            return True  # too few to judge by: the first trials go on, or a slow start would stop everything
        return best_score >= sorted(rung.values(), reverse=True)[promoted - 1]

    def forget(self, trial: int) -> None:
        """Take a failed trial out of every rung: nobody is measured against scores that do not count."""
        for rung in self._rungs.values():
            rung.pop(trial, None)
