"""The least time a search can take on this machine, and how near to it the real one came.

The floor is the work that no cache can spare, at the speed of the bare step: each shared prefix once over each
distinct view, and of each trial the part that trains; or the longest single trial, where that takes longer than its
share of all. Reading is left out: what is read in one of these searches comes from memory within tenths of a second.
Prefixes of one backbone that end at different depths count each for itself, though a deeper one can begin where a
shallower has ended: where depths are many, the floor is somewhat high, and the efficiency too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from benchmarks.measured import Trained


class Times(Protocol):
    """Seconds per image of one network, measured on this machine while its other cores train too."""

    def prefix_seconds(self, units: int, /) -> float:
        """Give the forward pass of the first `units` units."""

    def live_seconds(self, frozen_units: int, /) -> float:
        """Give the forward pass of what trains while the first `frozen_units` units stand still."""

    def rest_seconds(self, frozen_units: int, batch_size: int, /) -> float:
        """Give a training step from the last frozen unit's activation on."""


@dataclass(frozen=True)
class Floor:
    """Seconds; those of all devices together where not said otherwise."""

    prefix_seconds: float
    """Each distinct view of each image once through each prefix that trials share."""
    trained_seconds: float
    """The part that trains, over all epochs of all trials."""
    longest_trial_seconds: float
    """Of the trial that trains longest, its own part alone."""
    decode_seconds: float
    devices: int

    @property
    def seconds(self) -> float:
        """The floor: the least time from beginning to end."""
        shared = (self.prefix_seconds + self.trained_seconds) / self.devices
        return max(shared, self.decode_seconds / self.devices, self.longest_trial_seconds)

    def efficiency(self, achieved_seconds: float) -> float:
        """Give the floor over what was achieved; 1 is the best there is."""
        return self.seconds / achieved_seconds


@dataclass(frozen=True)
class Work:
    """How much a search does per trial and epoch."""

    train: int
    val: int
    views: int
    batch_size: int
    devices: int
    decode_seconds: float
    """Of one image, in one thread."""


def floor_of(trials: Sequence[Trained], times: Mapping[str, Times], work: Work) -> Floor:
    """Give the floor of a search.

    Args:
        trials: what it trained.
        times: of each of their backbones.
        work: the size of the data and of the machine.
    """
    alone = [_trained_seconds(trial, times[trial.backbone], work) for trial in trials]
    views: dict[tuple[str, int], int] = {}
    for trial in trials:
        prefix, seen = (trial.backbone, trial.frozen_units), min(work.views, len(trial.scores))
        views[prefix] = max(views.get(prefix, 0), seen)
    prefixes = [
        (count * work.train + work.val) * times[backbone].prefix_seconds(units)
        for (backbone, units), count in views.items()
    ]
    decode = (work.train + work.val) * work.decode_seconds
    return Floor(sum(prefixes), sum(alone), max(alone), decode, work.devices)


def _trained_seconds(trial: Trained, times: Times, work: Work) -> float:
    step = times.rest_seconds(trial.frozen_units, work.batch_size)
    return len(trial.scores) * (work.train * step + work.val * times.live_seconds(trial.frozen_units))
