"""A run folder read back: its space, its trials, what it began with. The one reader of `leaderboard` and `train`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tune_cnn.errors import RunFolderError, SpaceFileError
from tune_cnn.results.records import RunFolder, TrialRecord
from tune_cnn.search.remedies import without_study
from tune_cnn.search.run_facts import RunFacts, read_facts
from tune_cnn.search.study import Study
from tune_cnn.sections.search import SearchConfig
from tune_cnn.yaml_files import load_model, read_yaml

_HINT = "run its search again with its own space file, which writes this file anew"


class _Judged(BaseModel):
    """The part of space.yaml that says how trials were judged."""

    search: SearchConfig


@dataclass(frozen=True)
class RecordedRun:
    """A run as its folder tells of it."""

    folder: RunFolder
    search: SearchConfig
    trials: Sequence[TrialRecord]

    @cached_property
    def space(self) -> Mapping[str, Any]:
        """The space as it was resolved: plain mappings, lists and scalars."""
        tree: Mapping[str, Any] = read_yaml(self.folder.space).tree
        return tree

    @cached_property
    def facts(self) -> RunFacts:
        """What run.json says.

        Raises:
            RunFolderError: it is not there, or damaged.
        """
        return read_facts(self.folder)


def read_recorded(path: Path) -> RecordedRun:
    """Read a run folder.

    Args:
        path: what `tune-cnn search` wrote, finished or not.

    Raises:
        RunFolderError: there is no run, or a file in it is damaged; with the file's name.
    """
    folder = RunFolder(path)
    if not folder.study.is_file():
        if folder.trial(0).path.exists():
            raise RunFolderError(f"{folder.study}: no such file; {without_study(folder)}")
        raise RunFolderError(
            f"{folder.study}: no such file; give a run folder that `tune-cnn search` wrote, it holds study.db"
        )
    try:
        search = load_model(folder.space, _Judged).search
    except SpaceFileError as error:
        raise RunFolderError((*error.faults, f"{folder.space}: damaged; {_HINT}")) from error
    try:
        trials = Study.read(folder.study, search).records()
    except (KeyError, TypeError, AttributeError) as error:
        raise RunFolderError(
            f"{folder.study}: damaged, a trial's record lacks something ({error}); {without_study(folder)}"
        ) from error
    return RecordedRun(folder, search, trials)
