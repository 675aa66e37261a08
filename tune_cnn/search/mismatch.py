"""Hold what a trial's live objects said of themselves against what was handed out."""

from collections.abc import Mapping
from typing import Any

from tune_cnn.config import TrialConfig
from tune_cnn.errors import MismatchError
from tune_cnn.models.trunk import frozen_units_of
from tune_cnn.results.effective import differences
from tune_cnn.results.records import TrialFacts, TrialFolder
from tune_cnn.search.live import Live
from tune_cnn.training.plan import WARM_UP
from tune_cnn.yaml_files import read_yaml


def mismatch(live: Live, folder: TrialFolder, phase: str, facts: TrialFacts) -> str:
    """Compare effective.yaml, as read back when a phase of training began, with the config; empty if they agree.

    Args:
        live: a job that is in this phase now; that it was compared is written down there.
        folder: of the job. The file is read where its worker has not told what it holds.
        phase: of training.
        facts: what the job has told of its network.

    Raises:
        SpaceFileError: effective.yaml is missing or damaged.
    """
    config, told = live.job.config, live.read_back_tree
    live.read_back, live.read_back_tree = phase, None
    tree = read_yaml(folder.effective).tree if told is None else told
    faults = differences(config, tree) + _freeze_faults(config, tree["observed"], phase, facts)
    return f"{MismatchError.__name__}: {'; '.join(faults)}" if faults else ""


def _freeze_faults(config: TrialConfig, seen: Mapping[str, Any], phase: str, facts: TrialFacts) -> list[str]:
    asked = frozen_units_of(config.model)
    now = facts.units if phase == WARM_UP else asked
    faults = []
    if seen.get("phase") != phase:
        faults.append(f"the phase {phase} was to begin, but effective.yaml tells of {seen.get('phase')}")
    elif seen.get("frozen_units") != now:
        faults.append(f"{now} units were to be frozen, but {seen.get('frozen_units')} stand still")
    if facts.frozen_units != asked:
        faults.append(f"{asked} units were to be frozen, but {facts.frozen_units} are")
    return faults
