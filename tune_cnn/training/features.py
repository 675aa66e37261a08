"""Features: what a frozen prefix gives for each image of a view, computed once and read by every trial that can use it.

An entry of the cache holds one view at one cut. Its key names everything the content depends on and nothing else: the
view, the units of the prefix with every number in them, how images are normalised, the precision, the device, versions.
"""

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tune_cnn.data.cache import ArraySpec, Cache, Entry, Writer
from tune_cnn.models.network import Inputs, Network, single
from tune_cnn.models.tail import Activation, Cut, as_inputs, cut_network
from tune_cnn.training.batches import Batches, Source
from tune_cnn.training.precision import FULL, Precision
from tune_cnn.training.rows import Places, Rows, brought

KIND = "features"
# Part of every key: raise it when the same prefix and images would be stored as other numbers.
FORMAT_VERSION = 1
# Always as many images at once: with fewer, the last digits of a sum may differ.
BATCH = 32
PROVED_ON = 4
"""Images on which a cut is tried."""
# numpy knows no bfloat16.
_STORED_AS: Mapping[torch.dtype, type[np.generic]] = {
    torch.float32: np.float32,
    torch.float16: np.float16,
    torch.bfloat16: np.uint16,
}
Stored = NDArray[Any]


@dataclass(frozen=True)
class Form:
    """How one of the tensors of an activation is kept: lossless, and in the order in memory that it has when live."""

    shape: tuple[int, ...]
    """Of one image's share, without the batch: (C,), or (C, h, w)."""
    dtype: torch.dtype
    channels_last: bool

    @classmethod
    def of(cls, tensor: Tensor) -> "Form":
        """See how (B, ...) lies in memory."""
        shape = tuple(tensor.shape[1:])
        # Not `is_contiguous`, which calls maps of one pixel both: the order shows in the kernels that are chosen later.
        last = tensor.ndim == 4 and tensor.stride()[1:] == (1, shape[2] * shape[0], shape[0])
        return cls(shape, tensor.dtype, last)

    @property
    def size_bytes(self) -> int:
        """What one image takes."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def spec(self, images: int) -> ArraySpec:
        """Describe the array of so many images."""
        return ArraySpec((images, *self._stored_shape), _STORED_AS[self.dtype])

    def rows(self, tensor: Tensor) -> Stored:
        """Give (B, ...) as rows of the array."""
        rows = tensor.detach().permute(0, 2, 3, 1) if self.channels_last else tensor.detach()
        rows = rows.contiguous().cpu()
        return (rows.view(torch.uint16) if self.dtype is torch.bfloat16 else rows).numpy()

    def tensor(self, rows: Tensor) -> Tensor:
        """Give back what `rows` took, brought to a device; it shares its memory."""
        tensor = rows.view(self.dtype)
        return tensor.permute(0, 3, 1, 2) if self.channels_last else tensor

    def as_json(self) -> dict[str, Any]:
        """Give plain data that `from_json` reads back."""
        return {"shape": self.shape, "dtype": str(self.dtype).removeprefix("torch."), "last": self.channels_last}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Form":
        """Read what `as_json` gave."""
        return cls(tuple(data["shape"]), getattr(torch, data["dtype"]), data["last"])

    @property
    def _stored_shape(self) -> tuple[int, ...]:
        return (*self.shape[1:], self.shape[0]) if self.channels_last else self.shape


Forms = tuple[Form, ...]


@dataclass(frozen=True)
class FeatureRows:
    """The features of a view, as a source."""

    arrays: tuple[Rows, ...]
    forms: Forms
    device: torch.device

    @classmethod
    def of(cls, entry: Entry, forms: Forms, device: torch.device) -> "FeatureRows":
        """Take an entry of the cache."""
        # A plain array over the map: numpy's own class of maps makes each selection several times slower.
        arrays = tuple(np.asarray(entry.arrays[name]) for name in _names(forms))
        return cls(arrays, forms, device)

    @property
    def rows(self) -> tuple[Rows, ...]:
        """An array per map."""
        return self.arrays

    def with_rows(self, rows: tuple[Rows, ...]) -> "FeatureRows":
        """Give the same features, which lie elsewhere."""
        return replace(self, arrays=rows)

    def fetch(self, places: Places) -> Inputs:
        """Give the features at (B,) places: a tensor, or one for each map."""
        chosen = zip(self.forms, self.arrays, strict=True)
        return as_inputs(tuple(form.tensor(brought(array[places], self.device)) for form, array in chosen))


@dataclass(frozen=True)
class Setting:
    """What features depend on beside the view and the prefix."""

    backbone: str
    """Its name: what runs between its units is not seen in them."""
    px: int
    device: torch.device
    precision: Precision = FULL

    def parts(self) -> list[Any]:
        """Give plain data that names it, versions included."""
        return [self.backbone, self.px, self._computed_by, str(self.precision), *_versions()]

    @property
    def _computed_by(self) -> str:
        """Name the device by what decides the last digits of its sums, and how fast it is."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return f"{self.device.type} {torch.backends.cpu.get_cpu_capability()}"

    def computing(self) -> AbstractContextManager[Any]:
        """Give the context in which the prefix computes as the whole network does."""
        return self.precision.autocast(self.device)

    def arranged(self, inputs: Inputs) -> Tensor:
        """Lay out images, or a map from within the backbone, as the training does.

        Raises:
            TypeError: several maps, as only the end of a backbone gives them.
        """
        return single(self.precision.arrange(inputs))


@dataclass(frozen=True)
class Prefix:
    """A network's frozen units, as far as features of them can be cached."""

    model: Network
    setting: Setting
    digests: tuple[str, ...]
    """Of 0, 1, 2, … leading units."""
    cache: Cache

    def features(self, view: Batches, cut: Cut, forms: Forms, shallower: Mapping[int, Forms]) -> FeatureRows:
        """Open the features of a view, computing them first if nobody has.

        Args:
            view: the images.
            cut: of this network.
            forms: of what it gives.
            shallower: cuts from whose features, if there are any, can be started, with their forms.

        Raises:
            CacheUnusableError: they cannot be kept.
            InexactCutError: with these weights and images the tail gives other logits than the whole network.
        """

        def build(writer: Writer) -> dict[str, Any]:
            start, source = self._start(view, cut, shallower)
            self._prove(view, cut)
            for activation in self._activations(view, cut, start, source):
                for name, form, tensor in zip(_names(forms), forms, activation, strict=True):
                    writer.append(name, form.rows(tensor))
            return {"cut": cut.units, "built_from": start}

        entry = self.cache.arrays(KIND, self.key(view, cut.units, cut.needed), _specs(forms, len(view.labels)), build)
        return FeatureRows.of(entry, forms, self.setting.device)

    def key(self, view: Batches, units: int, needed: tuple[int, ...] = (0,)) -> str:
        """Name the features of a view after so many units."""
        top = [self.model.gives, needed] if units == len(self.model.units) else []
        parts = [FORMAT_VERSION, view.key, units, self.digests[units], *top, self.model.preprocessing]
        return hashlib.sha256(json.dumps([*parts, *self.setting.parts()]).encode()).hexdigest()[:32]

    def _start(self, view: Batches, cut: Cut, shallower: Mapping[int, Forms]) -> tuple[int, Source]:
        """Find the deepest features of the view that the cut's can be computed from; else the images, after 0 units."""
        for units in sorted((units for units in shallower if units < cut.units), reverse=True):
            forms = shallower[units]
            entry = self.cache.find(KIND, self.key(view, units), _specs(forms, len(view.labels)))
            if entry is not None:
                return units, FeatureRows.of(entry, forms, self.setting.device)
        return 0, view.source

    def _prove(self, view: Batches, cut: Cut) -> None:
        with self.setting.computing():
            cut.prove(self.setting.arranged(view.sample(PROVED_ON)))

    def _activations(self, view: Batches, cut: Cut, start: int, source: Source) -> Iterator[Activation]:
        """Give the activation of all images in order, from the features after `start` units on."""
        if start:
            images = view.sample(PROVED_ON)
            cut = cut_network(cut_network(self.model, start, images).tail, cut.units - start, images)
        for places, new in _batches(len(view.labels)):
            with self.setting.computing():
                activation = cut.activation(self.setting.arranged(source.fetch(places)))
            yield tuple(tensor[-new:] for tensor in activation)


@functools.cache
def _versions() -> tuple[str, ...]:
    """What computes; to look one up takes milliseconds."""
    return torch.__version__, version("timm")


def _batches(images: int) -> Iterator[tuple[Places, int]]:
    """Deal images into batches of one size, the last of which begins with images of the one before.

    Yields:
        Places, and how many at their end are new.
    """
    for start in range(0, images, BATCH):
        stop = min(start + BATCH, images)
        yield np.arange(max(0, stop - BATCH), stop), stop - start


def _names(forms: Forms) -> list[str]:
    return [f"map{place}" for place in range(len(forms))]


def _specs(forms: Forms, images: int) -> dict[str, ArraySpec]:
    return {name: form.spec(images) for name, form in zip(_names(forms), forms, strict=True)}
