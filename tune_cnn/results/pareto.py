"""The front of a search by several measures: trials that no other trial beats in everything."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def on_front(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say which rows nobody dominates.

    A row dominates another if it is as good in every column and better in one; equal rows share their fate. A row with
    a NaN was not measured and is never on the front.

    Args:
        values: (N, measures), higher is better in each column.

    Returns:
        (N,) booleans; empty for no rows.
    """
    known: NDArray[np.bool_] = np.asarray(~np.isnan(values).any(axis=1))
    front, others = known.copy(), values[known]
    for place in np.flatnonzero(known):
        as_good = (others >= values[place]).all(axis=1)
        front[place] = not (as_good & (others > values[place]).any(axis=1)).any()
    return front


def signed(names: Sequence[str]) -> list[tuple[float, str]]:
    """Split measures such as `-parameters` into a sign and a column: -1 where lower is better."""
    return [(-1.0, name[1:]) if name.startswith("-") else (1.0, name) for name in names]
