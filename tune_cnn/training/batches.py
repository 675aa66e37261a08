"""Batches from arrays that can be indexed: no DataLoader, no worker processes, no hidden state.

Everything random in an epoch comes from a seed of (trial seed, epoch), so that an epoch can be repeated alone.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tune_cnn.training.schedule import steps_per_epoch

Pixels = NDArray[np.uint8]
Augment = Callable[[Pixels, Any, int], tuple[Pixels, Any]]
"""One image, its class id or mask, and a seed, to a view of the image and what that shows."""


class ImageArray(Protocol):
    """N images or masks of one size in uint8: an array, a memory map, or a selection of one."""

    def __len__(self) -> int:
        """Give N."""
        ...

    def __getitem__(self, places: Any, /) -> Pixels:
        """Give (B, H, W, 3), for masks (B, H, W), for an array of B places."""
        ...


@dataclass(frozen=True)
class Batches:
    """One split, ready to be fed to a model on `device`."""

    images: ImageArray
    labels: NDArray[np.int64] | ImageArray
    """(N,) class ids of the images, or (N, H, W) of their pixels."""
    batch_size: int
    device: torch.device
    mean: Tensor
    """(3, 1, 1), in units of [0, 1]."""
    std: Tensor

    @classmethod
    def of(
        cls,
        images: ImageArray,
        labels: NDArray[np.int64] | ImageArray,
        *,
        batch_size: int,
        preprocessing: tuple[Sequence[float], Sequence[float]],
        device: torch.device,
    ) -> "Batches":
        """Make a split ready for a model that wants its channels with this mean and deviation, in units of [0, 1]."""
        mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in preprocessing)
        return cls(images, labels, batch_size, device, mean, std)

    def __len__(self) -> int:
        """Count the batches of a shuffled epoch."""
        return steps_per_epoch(len(self.labels), self.batch_size)

    def in_order(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Give every image once, in the split's order."""
        order = np.arange(len(self.labels))
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            yield self._to_device(self.images[chosen], self.labels[chosen])

    def shuffled(self, seed: int, epoch: int, augment: Augment | None) -> Iterator[tuple[Tensor, Tensor]]:
        """Give every image once, in an order and augmented by draws that depend on (seed, epoch) alone."""
        order = np.random.default_rng(seed_of("order", seed, epoch)).permutation(len(self.labels))
        for chosen in np.array_split(order, np.arange(1, len(self)) * self.batch_size):
            pixels, labels = self.images[chosen], self.labels[chosen]
            if augment:
                draws = (seed_of("augment", seed, epoch, int(image)) for image in chosen)
                views = [augment(*one) for one in zip(pixels, labels, draws, strict=True)]
                pixels, labels = np.stack([view for view, _ in views]), np.stack([label for _, label in views])
            yield self._to_device(pixels, labels)

    def _to_device(self, pixels: Pixels, classes: NDArray[Any]) -> tuple[Tensor, Tensor]:
        # The permuted view of an NHWC array *is* channels_last, the layout in which convolutions are fastest.
        images = torch.from_numpy(np.ascontiguousarray(pixels)).to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        labels = torch.from_numpy(np.ascontiguousarray(classes)).to(self.device, non_blocking=True).long()
        return images.float().div_(255).sub_(self.mean).div_(self.std), labels


def seed_of(*parts: str | int) -> int:
    """Mix parts into a seed of 32 bits: near seeds give unrelated draws, the same on every machine and Python."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")


def best_device() -> torch.device:
    """Give the first GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
