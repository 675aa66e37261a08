"""The commands that go on with a run, as one may type them."""

from pathlib import Path

from tune_cnn.invocation import program
from tune_cnn.results.display import word
from tune_cnn.storage.claim import name_of


def resume_command(run: Path) -> str:
    """Give the command that goes on with what is left of a run, in a folder or in a storage."""
    return f"{program()} resume {word(name_of(run))}"


def extend_command(run: Path, trials: int) -> str:
    """Give the command that goes on with a run until it has so many trials."""
    return f"{program()} extend {word(name_of(run))} --trials {trials}"
