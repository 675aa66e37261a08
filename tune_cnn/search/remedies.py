"""What is left of a run of which a file is lost or damaged, and what to do: the end of a message."""

from tune_cnn.results.display import place
from tune_cnn.results.records import RunFolder
from tune_cnn.search.commands import new_run_command, resume_command


def without_study(run: RunFolder) -> str:
    """Say what can be done without study.db."""
    left = [file.name for file in (run.leaderboard, run.epochs, run.finals, run.best) if file.exists()]
    trials = ["the trials' folders"] if run.trial(0).path.exists() else []
    stays = f"what was written from it stays ({', '.join([*left, *trials])}); " if left or trials else ""
    return f"bring it back from a copy, nothing can make it anew; {stays}for a new run: {new_run_command(run.path)}"


def without_facts(run: RunFolder) -> str:
    """Say what can be done without run.json."""
    return (
        f"bring it back from a copy, or delete it: {resume_command(run.path)} writes it anew, if the images are still "
        f"those of the trials in {place(run.study)}"
    )
