"""How a machine's or a cluster's resources are shared out to trials. Plain values: no Ray in here."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from tune_cnn.errors import InputError
from tune_cnn.sections.search import PerTrial

_SECONDS_BETWEEN_LOOKS = 2.0


@dataclass(frozen=True)
class Machine:
    """What one machine has for trials, or several together that are yet to come."""

    cpus: float
    gpus: float


@dataclass(frozen=True)
class Slots:
    """What the machine or cluster offers to trials."""

    cpus: float
    gpus: float
    per_trial_cpus: float
    per_trial_gpus: float
    concurrent: int
    most: int | None = None
    """At most so many trials at a time, however many fit; None for as many as fit."""

    def on(self, machines: Iterable[Machine], *, may_come: Machine = Machine(0, 0)) -> int:
        """Count the trials that fit on machines, each on one of them.

        Args:
            machines: that are there; 0 trials fit on none.
            may_come: what the cluster grows to if there is work, with what is there.
        """
        there = list(machines)
        absent = Machine(
            max(0.0, may_come.cpus - sum(one.cpus for one in there)),
            max(0.0, may_come.gpus - sum(one.gpus for one in there)),
        )
        fit = sum(map(self._on_one, (*there, absent)))
        return fit if self.most is None else min(fit, self.most)

    def fitted(self, machines: Iterable[Machine], *, may_come: Machine = Machine(0, 0)) -> "Slots":
        """Give the same for so many trials at a time as fit on machines, each on one of them.

        Raises:
            InputError: not even one does.
        """
        fit = self.on(machines, may_come=may_come)
        if fit < 1:
            raise InputError(
                f"a trial asks for {_named(self.per_trial_cpus, self.per_trial_gpus)}, but no machine of the cluster "
                "has as much; write less with --cpus-per-trial and --gpus-per-trial"
            )
        return replace(self, concurrent=fit)

    def _on_one(self, machine: Machine) -> int:
        fit = int(machine.cpus / self.per_trial_cpus)
        if not self.per_trial_gpus:
            return fit
        return min(fit, _on_gpus(machine.gpus, self.per_trial_gpus))

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
    return Slots(cpus, gpus, per_trial.cpus, asked_gpus, min([*fits, concurrent or fits[0]]), most=concurrent)


def _on_gpus(gpus: float, each: float) -> int:
    """Count the trials that fit; what asks for a part of a GPU gets it of one GPU, never of two."""
    return int(gpus / each) if each >= 1 else int(gpus) * int(1 / each)


class LiveSlots:
    """How many trials can run at a time just now, on machines that come and go. Looks every few seconds at most."""

    def __init__(
        self,
        offered: Slots,
        machines: Callable[[], Iterable[Machine]],
        *,
        may_come: Machine,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to count.

        Args:
            offered: what each trial asks for.
            machines: gives those that are there.
            may_come: what the cluster grows to if there is work.
            clock: seconds that only go forward.
        """
        self._offered, self._machines, self._may_come, self._clock = offered, machines, may_come, clock
        self._seen: tuple[int, float] | None = None

    def __call__(self) -> int:
        """Give how many trials can run at a time; 0 if there is no machine for any."""
        if self._seen is None or self._clock() >= self._seen[1]:
            count = self._offered.on(self._machines(), may_come=self._may_come)
            self._seen = (count, self._clock() + _SECONDS_BETWEEN_LOOKS)
        return self._seen[0]


def waiting_text(trials: int, seconds: float) -> str:
    """Say that so many trials wait for a worker, though there should be room for them."""
    wait = "1 trial has" if trials == 1 else f"{trials} trials have"
    return f"{wait} waited {seconds:.0f} s for a worker: the machines are taken or very busy, or have yet to start"


def change_text(concurrent: int) -> str:
    """Say that the cluster has changed: so many trials can run at a time now."""
    if not concurrent:
        return "no machine is left that a trial could run on: waiting for one"
    return f"the cluster has changed: {concurrent} trial{'' if concurrent == 1 else 's'} at a time from now on"
