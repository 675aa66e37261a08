"""Hold what a trial's live objects said of themselves against what was handed out."""

from tune_cnn.config import TrialConfig
from tune_cnn.errors import MismatchError
from tune_cnn.models.catalogue import facts as backbone_facts
from tune_cnn.models.freeze import frozen_units
from tune_cnn.results.effective import compare_effective, observed
from tune_cnn.results.records import TrialFacts, TrialFolder
from tune_cnn.training.plan import Phase, plan_phases


def begins_phase(config: TrialConfig, epoch: int) -> bool:
    """Whether a phase of training begins with this epoch, and its live objects are read back anew."""
    return any(phase.first_epoch == epoch for phase in plan_phases(config.training))


def mismatch(config: TrialConfig, folder: TrialFolder, epoch: int, facts: TrialFacts) -> str:
    """Compare effective.yaml, as read back for the phase of `epoch`, with the config; empty if they agree.

    Raises:
        SpaceFileError: effective.yaml is missing or damaged.
    """
    phase = next(phase for phase in plan_phases(config.training) if epoch <= phase.last_epoch)
    faults = compare_effective(config, folder.effective) + _freeze_faults(config, folder, phase, facts)
    return f"{MismatchError.__name__}: {'; '.join(faults)}" if faults else ""


def _freeze_faults(config: TrialConfig, folder: TrialFolder, phase: Phase, facts: TrialFacts) -> list[str]:
    model, seen = config.model, observed(folder.effective)
    line = backbone_facts(model.backbone).line
    asked = frozen_units(model.freeze, line, model.backbone)
    now = len(line) if phase.backbone_frozen else asked
    faults = []
    if seen.get("phase") != phase.name:
        faults.append(f"the phase {phase.name} was to begin, but effective.yaml tells of {seen.get('phase')}")
    elif seen.get("frozen_units") != now:
        faults.append(f"{now} units were to be frozen, but {seen.get('frozen_units')} stand still")
    if facts.frozen_units != asked:
        faults.append(f"{asked} units were to be frozen, but {facts.frozen_units} are")
    return faults
