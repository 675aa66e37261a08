"""A study written anew for a space that has changed: every trial under its number, with its values as they are now.

A study of Optuna's keeps the domain of each parameter, and the labels of a choice can never be others. So the trials
are added to a new one. Those that the new space does not hold lose their parameters there, which nothing is learned
from, and keep all else.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from tune_cnn.results.records import Scalar
from tune_cnn.search.jobs import table_values
from tune_cnn.search.sampler import distributions
from tune_cnn.search.sealed import sealed
from tune_cnn.search.study import Study
from tune_cnn.search.study_file import NAME, make_study
from tune_cnn.search.study_trials import DRAWN, OUTSIDE, VALUES, attributes_of
from tune_cnn.space.schema import Drawn, Space

CLOSED = "the space was changed, and does not hold it"
"""Why a running trial of the old space has ended."""
Place = Callable[[int, Mapping[str, Scalar] | None], Drawn | None]
"""Gives the point of the new space at which a trial lies, by its number and its values so far, by key; these are None
where it lay outside the old space already."""


def copy_study(old: Path, new: Path, space: Space, place: Place) -> list[bool]:
    """Write `new`, which must not be there, from `old`, which need not be: then it is empty.

    Returns:
        For each trial, whether the space holds it.

    Raises:
        RunFolderError: `old` is damaged.
        StoreError: the disk is full or cannot be written.
    """
    make_study(new)
    before, after = Study.open(old, space.search), Study.read(new, space.search)
    try:
        before.records()  # looks at every seal
        with after.at_once():
            return _copied(before, after, space, place)
    finally:
        before.close()
        after.close()


def _copied(before: Study, after: Study, space: Space, place: Place) -> list[bool]:
    source, target = before.storage, after.storage
    old_id, new_id = (one.get_study_id_from_name(NAME) for one in (source, target))
    for name, value in source.get_study_user_attrs(old_id).items():
        target.set_study_user_attr(new_id, name, value)
    domains = distributions(space.parameters)
    held = []
    for trial in source.get_all_trials(old_id, deepcopy=False):
        attributes = attributes_of(trial)
        drawn = place(trial.number, attributes.get(DRAWN))
        held.append(drawn is not None)
        target.create_new_trial(new_id, template_trial=_moved(trial, attributes, drawn, domains))
    return held


def _moved(trial: FrozenTrial, kept: Mapping[str, Any], drawn: Drawn | None, domains: Mapping[str, Any]) -> FrozenTrial:
    """Give a trial, of which so much was kept, as the new study is to hold it."""
    attributes = {name: value for name, value in kept.items() if name not in (OUTSIDE, DRAWN)}
    state, complete = trial.state, trial.datetime_complete
    if drawn is not None:
        attributes |= {VALUES: table_values(drawn), DRAWN: dict(drawn.values)}
    else:
        attributes[OUTSIDE] = True
        if state == TrialState.RUNNING:  # it cannot go on: what it would train on, nobody asks for any more
            state = TrialState.PRUNED if trial.intermediate_values else TrialState.FAIL
            attributes["reason"], complete = CLOSED, datetime.now()
    params = {} if drawn is None else drawn.values
    return FrozenTrial(
        number=trial.number,
        trial_id=-1,
        state=state,
        value=trial.value if state == TrialState.COMPLETE else None,
        datetime_start=trial.datetime_start,
        datetime_complete=complete,
        params=params,
        distributions={key: domains[key] for key in params},
        user_attrs={name: sealed(name, value) for name, value in attributes.items()},
        system_attrs=dict(trial.system_attrs),
        intermediate_values=dict(trial.intermediate_values),
    )
