"""The rows of study.db as Optuna's storage writes them, but in plain SQL and many at a time.

Optuna goes through SQLAlchemy's object layer, with two or three queries for every parameter, attribute and value: a
driver spent half its time there. The file stays Optuna's, which looks at its version when it is opened, and reads it;
a test holds every row against what Optuna itself would have written.
"""

import json
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
    json_to_distribution,
)
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState
from sqlalchemy import Connection

_BEGIN_TRIAL = "INSERT INTO trials (number, study_id, state, datetime_start) VALUES (?, ?, ?, ?)"
_END_TRIAL = "UPDATE trials SET state = ?, datetime_complete = ? WHERE trial_id = ?"
_STATE = "SELECT state FROM trials WHERE trial_id = ?"
_PARAMETERS = "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) VALUES (?, ?, ?, ?)"
_DOMAIN = """
SELECT distribution_json FROM trial_params JOIN trials USING (trial_id) WHERE study_id = ? AND param_name = ? LIMIT 1
"""
_ATTRIBUTES = """
INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (?, ?, ?)
ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json
"""
_STUDY_ATTRIBUTES = """
INSERT INTO study_user_attributes (study_id, key, value_json) VALUES (?, ?, ?)
ON CONFLICT (study_id, key) DO UPDATE SET value_json = excluded.value_json
"""
_STEP = """
INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type) VALUES (?, ?, ?, ?)
ON CONFLICT (trial_id, step) DO UPDATE SET
    intermediate_value = excluded.intermediate_value, intermediate_value_type = excluded.intermediate_value_type
"""
_VALUE = """
INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (?, 0, ?, ?)
ON CONFLICT (trial_id, objective) DO UPDATE SET value = excluded.value, value_type = excluded.value_type
"""

Domains = dict[str, tuple[BaseDistribution, str]]
"""Of parameters by their keys, and as the file holds them."""


class StudyRows:
    """Writes the rows of one study in a transaction that someone else has begun."""

    def __init__(self, connection: Connection, study_id: int, domains: Domains) -> None:
        """Begin to write; `domains` are those that are known to go with the file, and is added to."""
        self._connection, self._study_id, self._domains = connection, study_id, domains

    def begin_trial(
        self,
        number: int,
        values: Mapping[str, Any],
        domains: Mapping[str, BaseDistribution],
        attributes: Mapping[str, Any],
    ) -> int:
        """Write a trial that runs from now on; give its id.

        Args:
            number: how many trials there were before.
            values: of its parameters, by key.
            domains: of these parameters.
            attributes: plain data, as `keep`.

        Raises:
            ValueError: a parameter had a domain in earlier trials that this one does not go with.
        """
        begun = self._connection.exec_driver_sql(
            _BEGIN_TRIAL, (number, self._study_id, TrialState.RUNNING.name, _now())
        )
        trial_id = int(begun.lastrowid)
        self._write(
            _PARAMETERS,
            [
                (trial_id, key, domains[key].to_internal_repr(value), self._text_of(key, domains[key]))
                for key, value in values.items()
            ],
        )
        self._keep(trial_id, attributes)
        return trial_id

    def keep(self, trial_id: int, attributes: Mapping[str, Any]) -> None:
        """Write attributes of a running trial, in the place of earlier ones of the same names.

        Raises:
            KeyError: there is no such trial.
            UpdateFinishedTrialError: it has ended.
        """
        self._check_running(trial_id)
        self._keep(trial_id, attributes)

    def keep_step(self, trial_id: int, step: int, value: float, attributes: Mapping[str, Any]) -> None:
        """Write the value of a step of a running trial, and attributes; raises what `keep` does."""
        self.keep(trial_id, attributes)
        self._write(_STEP, [(trial_id, step, *_stored(value))])

    def end_trial(self, trial_id: int, state: TrialState, value: float | None, attributes: Mapping[str, Any]) -> None:
        """Close a running trial with its value, if it has one, and last attributes; raises what `keep` does."""
        self.keep(trial_id, attributes)
        if value is not None:
            self._write(_VALUE, [(trial_id, *_stored(value))])
        self._write(_END_TRIAL, [(state.name, _now(), trial_id)])

    def keep_of_study(self, attributes: Mapping[str, Any]) -> None:
        """Write attributes of the study, in the place of earlier ones of the same names."""
        self._write(_STUDY_ATTRIBUTES, [(self._study_id, key, json.dumps(value)) for key, value in attributes.items()])

    def _keep(self, trial_id: int, attributes: Mapping[str, Any]) -> None:
        self._write(_ATTRIBUTES, [(trial_id, key, json.dumps(value)) for key, value in attributes.items()])

    def _write(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        if rows := list(rows):
            self._connection.exec_driver_sql(statement, rows)

    def _check_running(self, trial_id: int) -> None:
        found = self._connection.exec_driver_sql(_STATE, (trial_id,)).scalar_one_or_none()
        if found is None:
            raise KeyError(trial_id)
        if found != TrialState.RUNNING.name:
            raise UpdateFinishedTrialError(f"trial_id {trial_id} has ended: {found}")

    def _text_of(self, key: str, domain: BaseDistribution) -> str:
        """Give a parameter's domain as text, once it is known to go with that of earlier trials."""
        known = self._domains.get(key)
        if known is None or known[0] != domain:
            before = self._connection.exec_driver_sql(_DOMAIN, (self._study_id, key)).scalar_one_or_none()
            if before is not None:
                check_distribution_compatibility(json_to_distribution(before), domain)
            known = self._domains[key] = (domain, distribution_to_json(domain))
        return known[1]


def _now() -> str:
    """Give the time as SQLAlchemy writes it; Optuna keeps that of UTC, without saying so."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat(" ", timespec="microseconds")


def _stored(value: float) -> tuple[float | None, str]:
    """Give a number as Optuna keeps it: SQL has none for those that are not finite."""
    if math.isfinite(value):
        return value, "FINITE"
    return None, "NAN" if math.isnan(value) else "INF_POS" if value > 0 else "INF_NEG"
