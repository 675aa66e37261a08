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

from tune_cnn.models.network import Inputs
from tune_cnn.training.schedule import steps_per_epoch

Pixels = NDArray[np.uint8]
Places = NDArray[np.int64]
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


class Source(Protocol):
    """What a network can be fed with, a row per image."""

    def fetch(self, places: Places) -> Inputs:
        """Give the rows at (B,) places on the device, (B, ...) each."""
        ...


@dataclass(frozen=True)
class Images:
    """Images as a source, normalised as a network wants them."""

    pixels: ImageArray
    mean: Tensor
    """(3, 1, 1), in units of [0, 1]; on the device."""
    std: Tensor

    @classmethod
    def of(
        cls, pixels: ImageArray, preprocessing: tuple[Sequence[float], Sequence[float]], device: torch.device
    ) -> "Images":
        """Take images for a network that wants its channels with this mean and deviation, in units of [0, 1]."""
        mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in preprocessing)
        return cls(pixels, mean, std)

    def fetch(self, places: Places) -> Tensor:
        """Give (B, 3, H, W) for (B,) places."""
        return self.normalised(self.pixels[places])

    def normalised(self, pixels: Pixels) -> Tensor:
        """Give (B, 3, H, W) for (B, H, W, 3)."""
        # The permuted view of an NHWC array *is* channels_last, the layout in which convolutions are fastest.
        images = torch.from_numpy(np.ascontiguousarray(pixels)).to(self.mean.device, non_blocking=True)
        return images.permute(0, 3, 1, 2).float().div_(255).sub_(self.mean).div_(self.std)


@dataclass(frozen=True)
class Batches:
    """One split, ready to be fed to a model on `device`."""

    source: Source
    labels: NDArray[np.int64] | ImageArray
    """(N,) class ids of the images, or (N, H, W) of their pixels."""
    batch_size: int
    device: torch.device
    key: str = ""
    """Names the content of the images, for what is kept of them; empty where nothing is."""

    @classmethod
    def of(
        cls,
        images: ImageArray,
        labels: NDArray[np.int64] | ImageArray,
        *,
        batch_size: int,
        preprocessing: tuple[Sequence[float], Sequence[float]],
        device: torch.device,
        key: str = "",
    ) -> "Batches":
        """Make a split ready for a model that wants its channels with this mean and deviation, in units of [0, 1]."""
        return cls(Images.of(images, preprocessing, device), labels, batch_size, device, key)

    def __len__(self) -> int:
        """Count the batches of a shuffled epoch."""
        return steps_per_epoch(len(self.labels), self.batch_size)

    @property
    def px(self) -> int:
        """Read the images' height and width from one of them."""
        return len(self.source.fetch(np.arange(1))[0][-1])

    def in_order(self) -> Iterator[tuple[Inputs, Tensor]]:
        """Give every image once, in the split's order."""
        order = np.arange(len(self.labels))
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            yield self.source.fetch(chosen), self._on_device(self.labels[chosen])

    def shuffled(self, seed: int, epoch: int, augment: Augment | None) -> Iterator[tuple[Inputs, Tensor]]:
        """Give every image once, in an order and augmented by draws that depend on (seed, epoch) alone."""
        order = np.random.default_rng(seed_of("order", seed, epoch)).permutation(len(self.labels))
        for chosen in np.array_split(order, np.arange(1, len(self)) * self.batch_size):
            if augment and isinstance(self.source, Images):
                pixels, labels = self.source.pixels[chosen], self.labels[chosen]
                draws = (seed_of("augment", seed, epoch, int(image)) for image in chosen)
                views = [augment(*one) for one in zip(pixels, labels, draws, strict=True)]
                images = self.source.normalised(np.stack([view for view, _ in views]))
                yield images, self._on_device(np.stack([label for _, label in views]))
            else:
                yield self.source.fetch(chosen), self._on_device(self.labels[chosen])

    def _on_device(self, classes: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(classes)).to(self.device, non_blocking=True).long()


def seed_of(*parts: str | int) -> int:
    """Mix parts into a seed of 32 bits: near seeds give unrelated draws, the same on every machine and Python."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")


def best_device() -> torch.device:
    """Give the first GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
