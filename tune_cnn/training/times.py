"""What was measured of a network and of images on one machine, and what follows for depths in between. No torch.

The model of a training step at freeze depth f and batch size b, in seconds per image:

    step(f, b) = prefix(f) + rest(f, b)

`prefix` is the forward pass of the frozen units, a sum of unit times. `rest` (forward, backward and optimiser of all
that trains) was measured at a few depths; between two of them it is interpolated along the forward time of what
trains. Batches of another size share what a step costs whatever its size: rest(f, b) = rest(f, b0) + o(f) (1/b - 1/b0).
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

BACKWARD_FACTOR = 3.0
"""A step's time over its forward pass alone, where no step was measured: the backward pass costs twice the forward."""


@dataclass(frozen=True)
class StepTime:
    """One training step as it was measured, in seconds per image of its batch."""

    frozen_units: int
    batch_size: int
    prefix_seconds: float
    """Until the last frozen unit is through."""
    rest_seconds: float
    """From there to the end: forward, backward and optimiser of all that trains."""


@dataclass(frozen=True)
class SaveTime:
    """To write the state after an epoch, in seconds: it holds what trains."""

    frozen_units: int
    seconds: float
    synced_seconds: float
    """Until the disk has it; waited for every few seconds only."""


@dataclass(frozen=True)
class ModelTimes:
    """One network at one image size, in seconds and bytes per image where nothing else is said."""

    unit_seconds: tuple[float, ...]
    """Forward pass of each unit, without gradients, first to run first."""
    top_seconds: float
    """Forward pass of the head or decoder, and of what joins the parts."""
    map_bytes: tuple[int, ...]
    """Of the activation after each unit, in full precision; at a cut, of what is kept there."""
    cuts: tuple[int, ...] = ()
    """By how many units are frozen, from 0 to all: after which one features are kept, 0 for none; empty for none."""
    read_seconds_per_byte: float = 0.0
    """Of features, from the cache to the device."""
    steps: tuple[StepTime, ...] = ()
    """Empty where nothing but the forward pass is known."""
    build_seconds: float = 0.0
    """To make the network in a process that has made one before."""
    saves: tuple[SaveTime, ...] = ()
    """At the outer depths; empty where it was not measured."""
    save_best_seconds: float = 0.0
    """To write the model of a best epoch."""
    checkpoint_mb: float = 0.0
    """Of the state and the best model of one trial, at most."""
    peak_memory_mb: float | None = None
    """Of the process (on a GPU: on it) over all that was measured."""

    @property
    def forward_seconds(self) -> float:
        """The whole forward pass."""
        return sum(self.unit_seconds) + self.top_seconds

    def cut(self, frozen_units: int) -> int:
        """Say after which unit features are kept while so many are frozen; 0 for none."""
        return self.cuts[frozen_units] if self.cuts else 0

    def prefix_seconds(self, units: int) -> float:
        """The forward pass of the first `units` units."""
        return sum(self.unit_seconds[:units])

    def live_seconds(self, frozen_units: int) -> float:
        """The forward pass of what trains while the first `frozen_units` units stand still."""
        return self.forward_seconds - self.prefix_seconds(frozen_units)

    def step_seconds(self, frozen_units: int, batch_size: int) -> float:
        """A training step with the frozen units computed in it, per image."""
        return self.prefix_seconds(frozen_units) + self.rest_seconds(frozen_units, batch_size)

    def rest_seconds(self, frozen_units: int, batch_size: int) -> float:
        """A training step from the last frozen unit's activation on, per image."""
        live = self.live_seconds(frozen_units)
        if not self.steps:
            return BACKWARD_FACTOR * live
        reference = self._reference_batch
        known = [(self.live_seconds(one.frozen_units), one.rest_seconds) for one in self._at(reference)]
        return max(0.0, _between(known, live) + self._per_step(live) * (1 / batch_size - 1 / reference))

    def save_time(self, frozen_units: int) -> SaveTime:
        """Give what saving takes at a depth, between those measured by units; 0 where none was."""
        if not self.saves:
            return SaveTime(frozen_units, 0.0, 0.0)
        ends = sorted(self.saves, key=lambda one: one.frozen_units)
        first, last = ends[0], ends[-1]
        far = last.frozen_units - first.frozen_units
        share = min(1.0, max(0.0, (frozen_units - first.frozen_units) / far)) if far else 0.0
        seconds = first.seconds + share * (last.seconds - first.seconds)
        return SaveTime(
            frozen_units, seconds, first.synced_seconds + share * (last.synced_seconds - first.synced_seconds)
        )

    def left_out_errors(self) -> dict[int, float]:
        """Say how far off the model is where it can be checked: relative error of the rest at each inner depth.

        Returns:
            By frozen units: what the other depths say over what was measured, minus 1; empty below three depths.
        """
        inner = sorted(self._at(self._reference_batch), key=lambda one: one.frozen_units)[1:-1] if self.steps else []
        errors: dict[int, float] = {}
        for left_out in inner:
            others = replace(self, steps=tuple(one for one in self.steps if one != left_out))
            said = others.rest_seconds(left_out.frozen_units, left_out.batch_size)
            errors[left_out.frozen_units] = said / left_out.rest_seconds - 1
        return errors

    def scaled(self, factor: float) -> Self:
        """Give the same network on a machine on which everything takes `factor` times as long."""
        steps = tuple(
            replace(one, prefix_seconds=one.prefix_seconds * factor, rest_seconds=one.rest_seconds * factor)
            for one in self.steps
        )
        units = tuple(seconds * factor for seconds in self.unit_seconds)
        reading = self.read_seconds_per_byte * factor
        top = self.top_seconds * factor
        return replace(self, unit_seconds=units, top_seconds=top, steps=steps, read_seconds_per_byte=reading)

    def as_json(self) -> dict[str, Any]:
        """Give plain data that `from_json` reads back."""
        return {
            **vars(self),
            "steps": [vars(one) for one in self.steps],
            "saves": [vars(one) for one in self.saves],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `as_json` gave.

        Raises:
            TypeError: a name is missing or unknown.
        """
        lists = {name: tuple(data[name]) for name in ("unit_seconds", "map_bytes", "cuts") if name in data}
        steps, saves = data.get("steps", ()), data.get("saves", ())
        rows = {"steps": tuple(StepTime(**one) for one in steps), "saves": tuple(SaveTime(**one) for one in saves)}
        return cls(**{**data, **lists, **rows})

    @property
    def _reference_batch(self) -> int:
        """The batch size at which most depths were measured."""
        sizes = [one.batch_size for one in self.steps]
        return max(sorted(set(sizes)), key=sizes.count)

    def _at(self, batch_size: int) -> list[StepTime]:
        return [one for one in self.steps if one.batch_size == batch_size]

    def _per_step(self, live: float) -> float:
        """Seconds of a step that do not grow with its images, where a depth was measured with two batch sizes."""
        reference = self._reference_batch
        at_reference = {one.frozen_units: one.rest_seconds for one in self._at(reference)}
        known: list[tuple[float, float]] = []
        for one in self.steps:
            if one.batch_size != reference and one.frozen_units in at_reference:
                more = one.rest_seconds - at_reference[one.frozen_units]
                fixed = max(0.0, more / (1 / one.batch_size - 1 / reference))
                known.append((self.live_seconds(one.frozen_units), fixed))
        return _between(known, live) if known else 0.0


@dataclass(frozen=True)
class ImageTimes:
    """Images at one size, in seconds per image."""

    decode_seconds: float
    """From a file to a fitted view, in one thread."""
    load_seconds: float
    """From the cache to a normalised batch on the device."""
    view_seconds: Mapping[str, float]
    """To draw an augmented view, by policy."""

    def scaled(self, factor: float) -> Self:
        """Give the same images on a machine on which everything takes `factor` times as long."""
        views = {policy: seconds * factor for policy, seconds in self.view_seconds.items()}
        return replace(
            self,
            decode_seconds=self.decode_seconds * factor,
            load_seconds=self.load_seconds * factor,
            view_seconds=views,
        )

    def as_json(self) -> dict[str, Any]:
        """Give plain data that `ImageTimes(**data)` reads back."""
        return {**vars(self), "view_seconds": dict(self.view_seconds)}


def _between(known: Sequence[tuple[float, float]], at: float) -> float:
    """Interpolate linearly between the nearest known points; beyond the ends, along the nearest point's own value.

    Above the last point a value grows in proportion, as a longer line of units costs more of the same; below the first
    it stays, as it is what a step costs whatever trains.
    """
    points = sorted(known)
    if at <= points[0][0]:
        return points[0][1]
    for (low, below), (high, above) in itertools.pairwise(points):
        if at <= high:
            return below + (above - below) * (at - low) / (high - low)
    last, value = points[-1]
    return value * at / last if last else value
