"""What a searched value may be: one of several, or a number between two."""

import math
from dataclasses import dataclass
from typing import Any

from tune_cnn.config_faults import shown
from tune_cnn.config_shape import Scalar


@dataclass(frozen=True)
class Choice:
    """One of several labels; a label stands for itself, or for a list or section that is written out in the space."""

    labels: tuple[Scalar, ...]

    @property
    def corners(self) -> tuple[Scalar, ...]:
        """The values that a check has to look at: all."""
        return self.labels

    @property
    def text(self) -> str:
        """As shown to people."""
        return f"choice of {', '.join(label if isinstance(label, str) else shown(label) for label in self.labels)}"


@dataclass(frozen=True)
class IntRange:
    """Whole numbers from `low` to `high`, both included; `high` lies on the grid of `step`."""

    low: int
    high: int
    log: bool = False
    step: int = 1

    @property
    def corners(self) -> tuple[Scalar, ...]:
        """The values that a check has to look at: both ends."""
        return (self.low, self.high)

    @property
    def text(self) -> str:
        """As shown to people."""
        step = f" in steps of {self.step}" if self.step != 1 else ""
        return f"{self.low} to {self.high}{step}{', log' if self.log else ''}"

    def nearest(self, value: float) -> int:
        """The value of the range that lies nearest to `value`."""
        inside = min(max(value, self.low), self.high)
        return self.low + round((inside - self.low) / self.step) * self.step

    @property
    def middle(self) -> int:
        """The middle; the geometric one where the range is logarithmic."""
        return self.nearest(math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2)


@dataclass(frozen=True)
class FloatRange:
    """Numbers from `low` to `high`, both included; with a `step`, `high` lies on its grid."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    @property
    def corners(self) -> tuple[Scalar, ...]:
        """The values that a check has to look at: both ends."""
        return (self.low, self.high)

    @property
    def text(self) -> str:
        """As shown to people."""
        step = f" in steps of {self.step:g}" if self.step is not None else ""
        return f"{self.low:g} to {self.high:g}{step}{', log' if self.log else ''}"

    def nearest(self, value: float) -> float:
        """The value of the range that lies nearest to `value`."""
        inside = min(max(value, self.low), self.high)
        if self.step is None:
            return inside
        return min(on_grid(self.low, self.step, round((inside - self.low) / self.step)), self.high)

    @property
    def middle(self) -> float:
        """The middle; the geometric one where the range is logarithmic."""
        if self.log:
            return self.nearest(math.exp((math.log(self.low) + math.log(self.high)) / 2))
        return self.nearest(self.low + (self.high - self.low) / 2)


Range = IntRange | FloatRange
Domain = Choice | Range


def written(domain: Range) -> dict[str, Any]:
    """A range as it is written in a space file, without a default."""
    ends: dict[str, Any] = {"range": [domain.low, domain.high]}
    if domain.log:
        ends["log"] = True
    if domain.step is not None and (isinstance(domain, FloatRange) or domain.step != 1):
        ends["step"] = domain.step
    return ends


def on_grid(low: float, step: float, steps: int) -> float:
    """`low + steps * step` without the dust of binary fractions: 0.1 + 2 * 0.1 is 0.3."""
    return float(f"{low + steps * step:.12g}")


@dataclass(frozen=True)
class Parameter:
    """One searched value on one branch of the space."""

    key: str
    """Unique over all branches: `training.schedule[one_cycle].rise`. The name the sampler knows."""
    name: str
    """The dotted name people see: `training.schedule.rise`. Two branches may share it."""
    domain: Domain
    default: Scalar
    conditions: tuple[tuple[str, Scalar], ...] = ()
    """The keys and labels that the enclosing choices must take for this value to matter."""
