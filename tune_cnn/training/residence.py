"""What lies on a GPU for as long as it is trained or scored on: the rows of one view of one split, where they fit."""

from dataclasses import replace

import torch

from tune_cnn.training.batches import Batches
from tune_cnn.training.micro_batches import is_out_of_memory
from tune_cnn.training.rows import copied, size_bytes

# Of what is free: other trials on the GPU copy theirs too, and networks need far more.
_SHARE = 0.1


class Residence:
    """Keeps the rows that were asked for last on their device; those of another view take their place."""

    def __init__(self, room_bytes: int | None = None) -> None:
        """Keep nothing yet.

        Args:
            room_bytes: how much may be kept; None for a share of what a GPU has free, and nothing on a CPU.
        """
        self._room_bytes = room_bytes
        self._kept: Batches | None = None

    def of(self, batches: Batches) -> Batches:
        """Give batches of the same rows, lying on the device if there is room for them."""
        if self._kept is None or not batches.key or self._kept.key != batches.key:
            self._kept = None  # before others are copied, not after
            self._kept = self._copied(batches)
        return self._kept

    def _copied(self, batches: Batches) -> Batches:
        room = _room_bytes(batches.device) if self._room_bytes is None else self._room_bytes
        rows = (*batches.source.rows, batches.labels)
        if not room or sum(map(size_bytes, rows)) > room:
            return batches
        try:
            *inputs, labels = (copied(one, batches.device) for one in rows)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return batches  # another trial was faster
        return replace(batches, source=batches.source.with_rows(tuple(inputs)), labels=labels)


def _room_bytes(device: torch.device) -> int:
    return int(_SHARE * torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else 0
