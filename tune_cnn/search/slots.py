"""How a machine's or a cluster's resources are shared out to trials. Plain values: no Ray in here."""

from dataclasses import dataclass

from tune_cnn.errors import InputError
from tune_cnn.sections.search import PerTrial


@dataclass(frozen=True)
class Slots:
    """What the machine or cluster offers to trials."""

    cpus: float
    gpus: float
    per_trial_cpus: float
    per_trial_gpus: float
    concurrent: int

    @property
    def text(self) -> str:
        """As shown to people."""
        each = _named(self.per_trial_cpus, self.per_trial_gpus)
        trials = "1 trial at a time, on" if self.concurrent == 1 else f"{self.concurrent} trials at a time, each on"
        return f"{trials} {each} of {_named(self.cpus, self.gpus)}"


def _named(cpus: float, gpus: float) -> str:
    """Name processors as people do, and no GPU where there is none."""
    parts = [
        f"{number:g} {name}{'' if number == 1 else 's'}" for number, name in ((cpus, "CPU"), (gpus, "GPU")) if number
    ]
    return " and ".join(parts)


def share_out(
    *, cpus: float, gpus: float, per_trial: PerTrial, concurrent: int | None, gpu_share: float = 1.0
) -> Slots:
    """Say how many trials run at a time. Where there is no GPU at all, trials run on CPUs.

    Args:
        cpus: that are there.
        gpus: that are there.
        per_trial: what one trial asks for.
        concurrent: at most so many; None for as many as fit.
        gpu_share: what `auto` stands for.

    Raises:
        InputError: one trial asks for more than there is.
    """
    asked = 1.0 if per_trial.gpus is None else gpu_share if per_trial.gpus == "auto" else per_trial.gpus
    asked_gpus = asked if gpus else 0.0
    fits = [int(cpus / per_trial.cpus)] + ([_on_gpus(gpus, asked_gpus)] if asked_gpus else [])
    if min(fits) < 1:
        raise InputError(
            f"a trial asks for {per_trial.cpus:g} CPUs and {asked_gpus:g} GPUs, but there are only {cpus:g} and "
            f"{gpus:g}; write less with --cpus-per-trial and --gpus-per-trial"
        )
    return Slots(cpus, gpus, per_trial.cpus, asked_gpus, min([*fits, concurrent or fits[0]]))


def _on_gpus(gpus: float, each: float) -> int:
    """Count the trials that fit; what asks for a part of a GPU gets it of one GPU, never of two."""
    return int(gpus / each) if each >= 1 else int(gpus) * int(1 / each)
