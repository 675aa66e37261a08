"""Whether `best` holds what the tables call the best: files may have been damaged or deleted since."""

from tune_cnn.invocation import program
from tune_cnn.results.best_model import has_sound_best
from tune_cnn.results.display import place, word
from tune_cnn.results.records import RunFolder, TrialFolder


def best_doubt(run: RunFolder, trial: int) -> str:
    """Say what is wrong with `best`, in a line; empty if it is a sound model of the trial that is to be there.

    Args:
        run: over, so that `best` stands still.
        trial: the winner of the finals, or else the first of the leaderboard.
    """
    again = f"`{program()} train {word(place(run.trial(trial).config))}` trains it again"
    if not run.best.exists():
        return f"the model of trial {trial}, the best, is gone; bring it back from a copy, or {again}"
    holds = TrialFolder(run.best.resolve().parent)
    number = int(holds.path.name.partition("-")[0])
    if number != trial:
        return (
            f"the model of trial {trial}, the best, is gone, and {place(run.best)} is that of trial {number}; bring it "
            f"back from a copy, or {again}"
        )
    if not has_sound_best(holds):
        return f"{place(run.best)}: damaged, the model of trial {trial}; bring it back from a copy, or {again}"
    return ""
