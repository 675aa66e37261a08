"""`tune-cnn extend`: more trials for a run, of its own space or of a changed one.

With a changed space study.db, space.yaml and run.json all have to change, and a kill may come at any moment. So all
three are written aside, into a folder that appears whole: until then the run is the old one, and from then on the new
one, whose files the next driver puts in their places if this one has not come to it.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tune_cnn.config import TrialConfig
from tune_cnn.errors import InputError, RunFolderError, SpaceFileError
from tune_cnn.files import new_folder, sync
from tune_cnn.invocation import program
from tune_cnn.results.display import place, word
from tune_cnn.results.records import RunFolder, Scalar
from tune_cnn.search.changes import space_differences
from tune_cnn.search.commands import resume_command
from tune_cnn.search.open_space import OpenedSpace, open_space
from tune_cnn.search.run_facts import RunFacts, write_facts
from tune_cnn.space.placing import place_in
from tune_cnn.space.schema import Drawn, Space, read_space
from tune_cnn.storage.claim import name_of
from tune_cnn.yaml_files import load_model, read_yaml, write_yaml

_MOST_CHANGES = 3


def open_extended(
    run: RunFolder, space_file: Path | None, *, trials: int, overrides: Sequence[str], data_root: str | Path | None
) -> OpenedSpace:
    """Read the space that a run is to go on with.

    Args:
        run: the run.
        space_file: of the changed space; None for the one the run has.
        trials: how many the run is to have in the end.
        overrides: `NAME=VALUE` texts of the command line.
        data_root: where the images are now; None for where the run has them.

    Raises:
        InputError: there is no run; nothing would be added; or trials of the two spaces would not compare.
    """
    if not run.current_space.is_file():
        raise InputError(f"{run.space}: no such file; give a run folder that `tune-cnn search` wrote")
    before = read_space(run.current_space)
    file = space_file or run.current_space
    asked = [*overrides, f"search.trials={trials}"]
    if space_file is not None and not _writes_seed(space_file):
        asked.insert(0, f"search.seed={before.search.seed}")
    opened = open_space(file, overrides=asked, data_root=data_root or before.data_root)
    _check_comparable(before, opened.space)
    if opened.space.digest() == before.digest() and trials <= before.search.trials:
        raise InputError(
            f"--trials {trials}: {name_of(run.path)} asks for {before.search.trials} trials already, and --trials says "
            f"how many it has in the end; write --trials {before.search.trials + 1} or more, or go on with what is "
            f"left of them: {resume_command(run.path)}"
        )
    return opened


def extend_run(run: RunFolder, before: RunFacts, space: Space) -> str:
    """Go over to another space: from here on the run is one of that space.

    Returns:
        How many of its trials lie in the new space, in a line, and in what that differs if some do not.

    Raises:
        InputError: no trial would be added.
        RunFolderError: the run's own space cannot be read.
        StoreError: study.db cannot be read or written.
        OSError: the disk is full; the run is what it was.
    """
    changed = space_differences(_own_space(run).canonical(), space.canonical())
    held = prepare_extension(run, before, space)
    number = _spaces_before(run) + 1
    finish_extension(run)
    return _told(run, held, number, changed)


def prepare_extension(run: RunFolder, before: RunFacts, space: Space) -> list[bool]:
    """Write aside what the run will consist of; once this is through, it is a run of the other space.

    Returns:
        For each trial, whether it lies in that.

    Raises: as `extend_run`.
    """
    from tune_cnn.search.study_copy import copy_study

    finder = _Finder(run, _own_space(run), space)
    with new_folder(run.extending) as part:
        aside = RunFolder(part)
        held = copy_study(run.study, aside.study, space, finder.place)
        if space.search.trials <= len(held):
            raise InputError(
                f"--trials {space.search.trials}: {name_of(run.path)} has {len(held)} trials already, and --trials "
                f"says how many it has in the end; write --trials {len(held) + 1} or more"
            )
        write_yaml(aside.earlier_space(_spaces_before(run) + 1), read_yaml(run.space).tree, durable=False)
        write_yaml(aside.space, space.canonical(), durable=False)
        write_facts(aside, before.model_copy(update={"space_digest": space.digest()}))
    return held


def finish_extension(run: RunFolder) -> None:
    """Put the files of an extension in their places. Nothing to do if there is none; a kill may come at any moment."""
    if not run.extending.is_dir():
        return
    for file in sorted(run.extending.iterdir()):
        if file.name == run.study.name:  # a journal that a kill left tells how to undo what was written to the old one
            run.study.with_name(f"{run.study.name}-journal").unlink(missing_ok=True)
        file.replace(run.path / file.name)
    sync(run.path)
    shutil.rmtree(run.extending)


@dataclass(frozen=True)
class _Finder:
    """Finds where the trials of a run lie in another space."""

    run: RunFolder
    old: Space
    new: Space

    def place(self, number: int, values: Mapping[str, Scalar] | None) -> Drawn | None:
        """Give the point of the new space that a trial has tried; None if there is none."""
        config = self._written(number) if values is None else self._drawn(values)
        return None if config is None else place_in(self.new, config, values or {})

    def _drawn(self, values: Mapping[str, Scalar]) -> TrialConfig:
        return self.old.config(self.old.tree_of(values).tree, seed=0, cpu_threads=1, weights_file=None)

    def _written(self, number: int) -> TrialConfig | None:
        """Read a trial's config; None if the driver was killed before it was written, or another version wrote it."""
        try:
            return load_model(self.run.trial(number).config, TrialConfig)
        except SpaceFileError:
            return None


def _own_space(run: RunFolder) -> Space:
    try:
        return read_space(run.space)
    except SpaceFileError as error:
        raise RunFolderError((*error.faults, f"{run.space}: damaged; bring it back from a copy")) from error


def _spaces_before(run: RunFolder) -> int:
    """Count how often the space was changed."""
    number = 0
    while run.earlier_space(number + 1).exists():
        number += 1
    return number


def _told(run: RunFolder, held: Sequence[bool], number: int, changed: Sequence[str]) -> str:
    within, kept = sum(held), len(held) - sum(held)
    counted = f"{within} of {len(held)} old trials lie within the new space and count for it"
    rest = f"; {kept} {'is' if kept == 1 else 'are'} kept in the table alone" if kept else ""
    had = f"the space they had: {place(run.earlier_space(number))}"
    more = [f"and {len(changed) - _MOST_CHANGES} more"] if len(changed) > _MOST_CHANGES else []
    differs = f" (it differs in {'; '.join([*changed[:_MOST_CHANGES], *more])})" if kept and changed else ""
    return f"{counted}{rest}; {had}{differs}"


def _check_comparable(before: Space, space: Space) -> None:
    """Make sure that trials of two spaces compare.

    Raises:
        SpaceFileError: they do not.
    """
    then, now = (
        {"task": one.task, "search.metric": one.search.ranked_by, "search.seed": one.search.seed}
        for one in (before, space)
    )
    faults = [
        f"{space.path}: {name}: {then[name]} in the run, {now[name]} here, and its trials would not compare; write "
        f"{then[name]}, or begin a run of its own: {program()} search {word(str(space.path))} --name OTHER"
        for name in then
        if then[name] != now[name]
    ]
    if faults:
        raise SpaceFileError(faults)


def _writes_seed(file: Path) -> bool:
    tree = read_yaml(file).tree
    search = tree.get("search") if isinstance(tree, dict) else None
    return isinstance(search, dict) and "seed" in search
