"""Batches that memory does not hold: taken through the network in halves, quarters and so on."""

import logging
from collections.abc import Callable, Sequence
from math import ceil
from typing import TypeVar

import torch
from torch import Tensor

from tune_cnn.errors import TrialError
from tune_cnn.models.network import Inputs, Network, images_in

log = logging.getLogger(__name__)
Result = TypeVar("Result")

# Libraries below torch, and torch on a CPU, have errors of their own for it, with no type of their own.
_SIGNS = (
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",
    "can't allocate memory",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device (or the machine) has too little memory left."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


class MicroBatches:
    """How many images go through a network at once: fewer from the moment on at which memory did not suffice."""

    def __init__(self, *, least: int = 1, purpose: str = "training") -> None:
        """Begin with whole batches.

        Args:
            least: the fewest images the network can take.
            purpose: for the log.
        """
        self.least = least
        self.size: int | None = None
        """At most so many images; None: a batch as it comes."""
        self._purpose = purpose

    def parts(self, images: int) -> int:
        """Say in how many parts a batch goes through, none of them below the least."""
        return 1 if self.size is None else max(1, min(ceil(images / self.size), images // self.least))

    def fit(
        self, images: int, attempt: Callable[[int], Result], *, forget: Callable[[], None] = lambda: None
    ) -> Result:
        """Try something with a batch until it fits into memory, in more parts each time.

        Args:
            images: in the batch.
            attempt: given the number of parts; what it gives is given.
            forget: undo what a failed attempt has left.

        Raises:
            TrialError: not even parts of the least size fit.
        """
        while True:
            parts = self.parts(images)
            try:
                return attempt(parts)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            # Not within `except`, where the traceback still holds on to all that the attempt had made.
            forget()
            torch.cuda.empty_cache()
            self._halve(ceil(images / parts))

    def _halve(self, images: int) -> None:
        """Take from now on at most half as many images as have just failed."""
        if images // 2 < self.least:
            raise TrialError(too_little_memory(f"{self._purpose} runs out of it with {images} image(s) at once"))
        self.size = images // 2
        log.warning(
            "%s ran out of memory with %d images at once: from here on %d at most", self._purpose, images, self.size
        )


def too_little_memory(what: str) -> str:
    """Say that memory does not suffice, and what could be written instead."""
    return (
        f"too little memory, however small a part of training.batch_size is taken at once: {what}; write a smaller "
        "image.px or a smaller model, or run fewer trials on a GPU (search.per_trial.gpus)"
    )


def split(inputs: Inputs, parts: int) -> Sequence[Inputs]:
    """Cut a batch into so many parts, as even as can be."""
    if isinstance(inputs, Tensor):
        return inputs.tensor_split(parts)
    return list(zip(*(each.tensor_split(parts) for each in inputs), strict=True))


def answers(network: Network, inputs: Inputs, micro: MicroBatches) -> Tensor:
    """Ask a network in eval mode, in as many parts as memory asks for.

    Args:
        network: asked.
        inputs: B of them.
        micro: remembers in how many parts.

    Returns:
        (B, ...) predicted class ids.
    """
    return micro.fit(
        images_in(inputs),
        lambda parts: torch.cat([network(piece).argmax(dim=1) for piece in split(inputs, parts)]),
    )
