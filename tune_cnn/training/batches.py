"""Batches from arrays that can be indexed: no DataLoader, no worker processes, no hidden state.

Everything random in an epoch comes from a seed of (trial seed, epoch), so that an epoch can be repeated alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from tune_cnn import progress
from tune_cnn.data.augmented import AugmentedViews
from tune_cnn.models.network import Inputs, single
from tune_cnn.seeds import seed_of
from tune_cnn.training.rows import Places, Rows, brought
from tune_cnn.training.schedule import steps_per_epoch


class Source(Protocol):
    """What a network can be fed with, a row per image."""

    @property
    def rows(self) -> tuple[Rows, ...]:
        """Its arrays as they are kept, N rows each."""
        ...

    def with_rows(self, rows: tuple[Rows, ...]) -> "Source":
        """Give the same with arrays of the same content that lie elsewhere."""
        ...

    def fetch(self, places: Places) -> Inputs:
        """Give the rows at (B,) places on the device, (B, ...) each."""
        ...


@dataclass(frozen=True)
class Images:
    """Images as a source, normalised as a network wants them."""

    pixels: Rows
    """(N, H, W, 3) in uint8."""
    mean: Tensor
    """(3, 1, 1), in units of [0, 1]; on the device."""
    std: Tensor

    @classmethod
    def of(cls, pixels: Rows, preprocessing: tuple[Sequence[float], Sequence[float]], device: torch.device) -> "Images":
        """Take images for a network that wants its channels with this mean and deviation, in units of [0, 1]."""
        mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in preprocessing)
        return cls(pixels, mean, std)

    @property
    def rows(self) -> tuple[Rows, ...]:
        """The pixels."""
        return (self.pixels,)

    def with_rows(self, rows: tuple[Rows, ...]) -> "Images":
        """Give the same images, whose pixels lie elsewhere."""
        return replace(self, pixels=rows[0])

    def fetch(self, places: Places) -> Tensor:
        """Give (B, 3, H, W) for (B,) places."""
        # The permuted view of an NHWC array *is* channels_last, the layout in which convolutions are fastest.
        images = brought(self.pixels[places], self.mean.device).permute(0, 3, 1, 2)
        return images.float().div_(255).sub_(self.mean).div_(self.std)


@dataclass(frozen=True)
class Batches:
    """One view of one split, ready to be fed to a network on `device`."""

    source: Source
    labels: Rows
    """(N,) class ids of the images, or (N, H, W) of their pixels."""
    batch_size: int
    device: torch.device
    key: str = ""
    """Names the content of the rows, for what is kept of them; empty where nothing is."""

    @classmethod
    def of(
        cls,
        images: Rows,
        labels: Rows,
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

    def sample(self, images: int) -> Tensor:
        """Give the first images, as many as there are of so many: (B, 3, H, W).

        Raises:
            TypeError: the source gives several maps of features.
        """
        return single(self.source.fetch(np.arange(min(images, len(self.labels)))))

    def showing(self, images: Rows, labels: Rows, key: str) -> "Batches":
        """Give batches of another view of the same images.

        Raises:
            TypeError: the source gives features.
        """
        if not isinstance(self.source, Images):
            raise TypeError("features of one view show no other")
        return replace(self, source=replace(self.source, pixels=images), labels=labels, key=key)

    def in_order(self) -> Iterator[tuple[Inputs, Tensor]]:
        """Give every image once, in the split's order."""
        order = np.arange(len(self.labels))
        for start in range(0, len(order), self.batch_size):
            progress.sign()
            yield self._at(order[start : start + self.batch_size])

    def shuffled(self, seed: int, epoch: int) -> Iterator[tuple[Inputs, Tensor]]:
        """Give every image once, in an order that depends on (seed, epoch) alone."""
        order = np.random.default_rng(seed_of("order", seed, epoch)).permutation(len(self.labels))
        for chosen in np.array_split(order, np.arange(1, len(self)) * self.batch_size):
            yield self._at(chosen)

    def _at(self, places: Places) -> tuple[Inputs, Tensor]:
        return self.source.fetch(places), brought(self.labels[places], self.device).long()


@dataclass(frozen=True)
class TrainBatches:
    """A training split, epoch by epoch."""

    plain: Batches
    """The images as they are."""
    views: AugmentedViews

    def __len__(self) -> int:
        """Count the batches of an epoch."""
        return len(self.plain)

    @property
    def device(self) -> torch.device:
        """Where they go."""
        return self.plain.device

    def of(self, epoch: int) -> Batches:
        """Give what an epoch, from 1 on, trains on; its view is made, if nobody has made it, once it is looked at."""
        number = self.views.number_of(epoch)
        images, labels = self.views.open(number)
        return self.plain.showing(images, labels, self.views.key(number))


def best_device() -> torch.device:
    """Give the first GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
