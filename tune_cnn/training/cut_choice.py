"""Where to cut a frozen prefix so that keeping what it gives pays: from measured costs to a few cuts. No torch in here.

Trials that freeze to neighbouring depths shall share their features, so there are few cuts, the rungs of a ladder: each
depth uses the next rung below it if the units between are cheap beside what the trial trains anyway. Near the head,
where little is trained, rungs lie close; further down they lie far apart.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Self

# Forward and backward pass of a unit that trains, in forward passes.
_TRAINING_STEP = 3
# How much of a training step's cost the units between rung and depth may add.
_CLOSE = 0.1
# A byte is written once, to disk: that costs more than to read it back from memory.
_WRITING = 10
# A view is seen by this many trial-epochs at least, or the first one would build it for nobody.
_LEAST_USES = 2


@dataclass(frozen=True)
class Costs:
    """What one image costs on this machine, in a network's units."""

    seconds: tuple[float, ...]
    """Per unit: of its forward pass."""
    sizes_bytes: tuple[int | None, ...]
    """Per unit: of what it gives; None where the network cannot be cut behind it."""
    image_bytes: int
    image_seconds: float
    """To read and normalise the image itself."""
    seconds_per_byte: float
    """To read features, and bring them to the device."""

    def as_json(self) -> dict[str, Any]:
        """Give plain data that `from_json` reads back."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Read what `as_json` gave."""
        return cls(**data | {name: tuple(data[name]) for name in ("seconds", "sizes_bytes")})

    def prefix_seconds(self, units: int) -> float:
        """Give the cost of the first so many units, without the image."""
        return sum(self.seconds[:units])

    def up_to(self, frozen: int, *, cut: int) -> float:
        """Give the cost of an image at the output of `frozen` units, with the features at `cut`; 0 is the image."""
        start = self.reading(cut) if cut else self.image_seconds
        return start + sum(self.seconds[cut:frozen])

    def reading(self, cut: int) -> float:
        """Give the cost to read the features of an image; infinite where there can be none."""
        size = self.sizes_bytes[cut - 1]
        return float("inf") if size is None else size * self.seconds_per_byte

    def step(self, frozen: int) -> float:
        """Give the cost to train all units behind `frozen` ones, to which their input is given."""
        return _TRAINING_STEP * sum(self.seconds[frozen:])

    def pays(self, cut: int) -> bool:
        """Say whether features at `cut` are worth having: smaller than the image, and built sooner than computed.

        Where the network can only be cut at its end, as below a decoder, they may be larger.
        """
        size = self.sizes_bytes[cut - 1]
        if size is None or (size > self.image_bytes and any(self.sizes_bytes[:-1])):
            return False
        computed = self.up_to(cut, cut=0)
        built = computed + _WRITING * self.reading(cut)
        return built + _LEAST_USES * self.reading(cut) < _LEAST_USES * computed


def choose_rungs(costs: Costs, depths: Collection[int], *, without: Collection[int] = ()) -> tuple[int, ...]:
    """Choose the few cuts that serve all freeze depths.

    Args:
        costs: of the network's units.
        depths: how many units may stand still.
        without: cuts that cannot be used, whatever they would save.

    Returns:
        Rising numbers of units; empty if no features pay. Whatever the depth, what it costs to read the features and
        run the units from the next rung to it exceeds the best cut's cost by a tenth of the training step at most.
    """
    candidates = [cut for cut in sorted(depths) if cut not in without and costs.pays(cut)]
    rungs: list[int] = []
    for frozen in sorted(depths, reverse=True):
        good = list(_good(costs, frozen, candidates))
        if good and not any(cut in rungs for cut in good):
            rungs.append(good[0])  # the shallowest: it serves the most depths to come
    return tuple(sorted(rungs))


def _good(costs: Costs, frozen: int, candidates: Collection[int]) -> Iterator[int]:
    """Give the candidates that are close to the best for a depth, the shallowest first."""
    prices = {cut: costs.up_to(frozen, cut=cut) for cut in candidates if cut <= frozen}
    if prices:
        best = min(prices.values())
        limit = best + _CLOSE * (best + costs.step(frozen))
        yield from (cut for cut, price in prices.items() if price <= limit)


def cut_for(frozen: int, costs: Costs, rungs: Collection[int]) -> int | None:
    """Give the rung that is cheapest for a freeze depth; None if none is cheaper than the images."""
    prices = {cut: costs.up_to(frozen, cut=cut) for cut in rungs if cut <= frozen}
    best = min(prices, key=lambda cut: (prices[cut], -cut), default=None)
    return best if best is not None and prices[best] < costs.up_to(frozen, cut=0) else None
