"""Whether two programs that trained the same configurations found the same scores, but for the noise of the seeds."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

_ALPHA = 0.01
_WIDEST = 1.5


@dataclass(frozen=True)
class Agreement:
    """The paired differences of the best scores, ours minus theirs, and what was made of them."""

    n: int
    mean: float
    sd: float
    half_width: float
    """Half of the 99 % interval of the mean."""
    widest_sd: float
    """The largest standard deviation that is taken for noise."""

    @property
    def agrees(self) -> bool:
        """Whether the interval holds 0, and single trials differ by no more than noise explains."""
        return abs(self.mean) <= self.half_width and self.sd <= self.widest_sd

    @property
    def text(self) -> str:
        """The figures in points, for the table."""
        verdict = "agree" if self.agrees else "DIFFER"
        return (
            f"{verdict}: {100 * self.mean:+.1f} ± {100 * self.half_width:.1f} points (99 %, n = {self.n}), "
            f"sd {100 * self.sd:.1f} of at most {100 * self.widest_sd:.1f}"
        )


def agreement(ours: Sequence[float], theirs: Sequence[float], *, images: int) -> Agreement:
    """Test paired scores for a difference that is none of the seeds'.

    The two programs draw other orders and other augmentations, so that each difference is noise of the seeds, and its
    mean is zero, if they train alike: a paired t-test at 1 %. A scatter so wide that any mean would pass is refused:
    no wider than 1.5 times that of two models which answer the same number of images independently.

    Args:
        ours: the best score of each trial, in [0, 1].
        theirs: of the same configurations in the same order.
        images: how many validation images a score counts.

    Raises:
        ValueError: the lists differ in length, or there are fewer than two trials.
    """
    differences = [one - other for one, other in zip(ours, theirs, strict=True)]
    n, share = len(differences), statistics.mean([*ours, *theirs])
    if n < 2:
        raise ValueError(f"{n} trial(s) say nothing of noise; compare two or more")
    sd = statistics.stdev(differences)
    half_width = float(stats.t.ppf(1 - _ALPHA / 2, n - 1)) * sd / math.sqrt(n)
    widest = _WIDEST * math.sqrt(2 * share * (1 - share) / images)
    return Agreement(n, statistics.mean(differences), sd, half_width, widest)
