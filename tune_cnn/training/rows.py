"""Rows of arrays on their way to a device: taken batch by batch, or all of them copied there beforehand.

On a CPU nothing is copied beforehand: what a batch indexes is the page cache itself, which all processes share.
"""

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Places = NDArray[np.int64]


class Rows(Protocol):
    """N rows of one shape and type: an array, a memory map, or a selection of one."""

    def __len__(self) -> int:
        """Give N."""
        ...

    def __getitem__(self, places: Any, /) -> Any:
        """Give (B, …) for an array of B places."""
        ...


class ResidentRows:
    """N rows that lie on a device: `rows[places]` gives (B, …) there for an array of B places."""

    def __init__(self, rows: Tensor) -> None:
        """Take (N, …) as it is."""
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, places: Places) -> Tensor:
        return self._rows[brought(places, self._rows.device)]


def brought(rows: NDArray[Any] | Tensor, device: torch.device) -> Tensor:
    """Bring rows to a device, without waiting until they are there; what is there already stays as it is."""
    if isinstance(rows, Tensor):
        return rows.to(device, non_blocking=True)
    # torch can do next to nothing with unsigned 16 bits, in which numpy keeps bfloat16.
    plain = np.ascontiguousarray(rows.view(np.int16) if rows.dtype == np.uint16 else rows)
    tensor = torch.from_numpy(plain)
    # Only from pinned memory does a GPU copy by itself, while the processor goes on.
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def size_bytes(rows: Rows) -> int:
    """Say how much memory all rows take, one at least; looks at one of them."""
    return len(rows) * int(rows[np.arange(1)].nbytes)


def copied(rows: Rows, device: torch.device, *, chunk_bytes: int = 2**26) -> ResidentRows:
    """Copy all rows, one at least, to a device, about so many bytes at a time."""
    first = brought(rows[np.arange(1)], device)
    whole = torch.empty((len(rows), *first.shape[1:]), dtype=first.dtype, device=device)
    step = max(1, chunk_bytes // max(1, first.nbytes))
    for begin in range(0, len(rows), step):
        places = np.arange(begin, min(begin + step, len(rows)))
        whole[begin : begin + len(places)] = brought(rows[places], device)
    return ResidentRows(whole)
