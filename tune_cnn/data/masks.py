"""Bytes of a mask file to a class id per pixel: each value is mapped as the config says, and none is guessed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from tune_cnn.data.decode import UndecodableError, load_upright
from tune_cnn.errors import TuneCnnError
from tune_cnn.sections.data import IGNORED_ID, MasksData

Mask: TypeAlias = npt.NDArray[np.uint8]
_Codes: TypeAlias = npt.NDArray[np.int64]
_MOST_SHOWN = 5


class UnmappedError(TuneCnnError):
    """A mask holds values that the config does not name; the text says which, how often, and what helps."""


@dataclass(frozen=True)
class MaskRule:
    """From the values in a mask to class ids."""

    ids: Mapping[str, int]
    """By value as in `data.values`: the id of its class, `IGNORED_ID` for pixels that do not count."""
    threshold: int | None = None

    @classmethod
    def of(cls, data: MasksData) -> "MaskRule":
        """Number the classes in the order of `data.class_names`."""
        id_of = {name: number for number, name in enumerate(data.class_names)}
        ids = {value: IGNORED_ID if name is None else id_of[name] for value, name in data.values.items()}
        return cls(ids, data.threshold)

    def apply(self, image: Image.Image) -> Mask:
        """Read class ids from a decoded mask.

        Args:
            image: of any mode.

        Returns:
            (H, W) class ids, `IGNORED_ID` where nothing counts.

        Raises:
            UndecodableError: colours where gray levels were announced.
            UnmappedError: values that `ids` lacks.
        """
        coloured = any(value.startswith("#") for value in self.ids)
        codes = _colours(image) if coloured else _levels(image)
        by_code = sorted(
            (int(value.removeprefix("#"), 16 if coloured else 10), number) for value, number in self.ids.items()
        )
        known = np.array([code for code, _ in by_code])
        numbers = np.array([number for _, number in by_code], np.uint8)
        if self.threshold is not None:
            place = (codes >= self.threshold).astype(np.int64)
        else:
            place = np.searchsorted(known, codes).clip(max=len(known) - 1)
            unmapped = codes[known[place] != codes]
            if unmapped.size:
                raise UnmappedError(self._unmapped_text(unmapped, coloured))
        ids: Mask = numbers[place]
        return ids

    def _unmapped_text(self, codes: _Codes, coloured: bool) -> str:
        values, counts = np.unique(codes, return_counts=True)
        often = np.argsort(-counts, kind="stable")[:_MOST_SHOWN]
        names = [f"'#{values[i]:06x}'" if coloured else str(values[i]) for i in often]
        found = ", ".join(f"{name} ({count} pixels)" for name, count in zip(names, counts[often], strict=True))
        more = f" and {len(values) - len(often)} more" if len(values) > len(often) else ""
        ways = [f"name them in data.values ({names[0]}: null for pixels that do not count)"]
        if not coloured and len(self.ids) == 2:
            ways.append(f"for blurred edges write data.threshold: {(sum(map(int, self.ids)) + 1) // 2}")
        return f"holds the values {found}{more}, which data.values lacks; {', or '.join(ways)}"


def decode_mask(data: bytes, rule: MaskRule, *, max_megapixels: float) -> Mask:
    """Decode a mask file, turned upright by its own EXIF orientation if it has one.

    Returns:
        (H, W) class ids.

    Raises:
        UndecodableError: no image that can be used.
        UnmappedError: values that the rule does not know.
    """
    return rule.apply(load_upright(data, max_megapixels=max_megapixels))


def _levels(image: Image.Image) -> _Codes:
    """Gray levels, or the indices of a palette; a gray picture stored in colours will do."""
    if image.mode == "1":  # bits are black and white, 0 and 255, to every viewer
        image = image.convert("L")
    values = np.asarray(image)
    if image.mode in ("L", "P") or image.mode.startswith("I"):
        return values.astype(np.int64)
    if image.mode in ("LA", "PA"):
        return values[..., 0].astype(np.int64)
    rgb = np.asarray(image.convert("RGB")).astype(np.int64)
    if (rgb != rgb[..., :1]).any():
        red, green, blue = rgb[(rgb != rgb[..., :1]).any(axis=2)][0]
        raise UndecodableError(
            f"a mask in colours (such as '#{red:02x}{green:02x}{blue:02x}'), but data.values names gray levels; "
            "write the colours, in quotes"
        )
    return rgb[..., 0]


def _colours(image: Image.Image) -> _Codes:
    """Red, green and blue in one number each; a palette's own colours, whatever transparency says."""
    rgb = np.asarray(image.convert("RGB")).astype(np.int64)
    return rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]
