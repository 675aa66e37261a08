"""The commands that go on with a run, as one may type them."""

from pathlib import Path

from tune_cnn.invocation import program
from tune_cnn.results.display import place, word
from tune_cnn.results.records import RunFolder
from tune_cnn.storage.claim import name_of
from tune_cnn.urls import is_url


def resume_command(run: Path) -> str:
    """Give the command that goes on with what is left of a run, in a folder or in a storage."""
    return f"{program()} resume {word(name_of(run))}"


def new_run_command(run: Path, *changes: str) -> str:
    """Give the command that begins anew with the space of a run, with `NAME=VALUE` changes of it.

    SPACE stands for a space file where the run is kept in a storage.
    """
    name, sets = name_of(run), "".join(f" --set {change}" for change in changes)
    if is_url(name):
        return f"{program()} search SPACE --out {word(name.rpartition('/')[0])} --name OTHER{sets}"
    return f"{program()} search {word(place(RunFolder(run).current_space))} --name OTHER{sets}"


def extend_command(run: Path, trials: int) -> str:
    """Give the command that goes on with a run until it has so many trials."""
    return f"{program()} extend {word(name_of(run))} --trials {trials}"
