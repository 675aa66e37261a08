"""Augmentation policies: checked when a space is read, drawn from a seed per image, read back for `effective.yaml`.

The only module that imports albumentations, which takes seconds: import it where images are, not where configs are.
"""

import hashlib
import inspect
import json
import math
import os
import random
import warnings
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from enum import Enum
from typing import Any

# albumentations asks the network for its newest version at import, unless told not to.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations
import cv2
import numpy as np
from albumentations.augmentations.crops.transforms import CropSizeError

from tune_cnn.data.decode import Pixels, fit_image, fit_mask
from tune_cnn.errors import SpaceFileError
from tune_cnn.sections.data import IGNORED_ID
from tune_cnn.sections.image import Policy, Transform

# Trials share the cores of a node; OpenCV's own threads would only fight over them, and gain nothing on small images.
cv2.setNumThreads(0)

# Transforms that cannot be applied to a photograph and its class alone, by the reason given for all of a group.
_UNFIT = {
    "needs boxes, masks or other images beside the image": (
        "AtLeastOneBBoxRandomCrop", "BBoxSafeRandomCrop", "ConstrainedCoarseDropout", "CropNonEmptyMaskIfExists", "FDA",
        "HistogramMatching", "MaskDropout", "Mosaic", "OverlayElements", "PixelDistributionAdaptation",
        "RandomCropNearBBox", "RandomSizedBBoxSafeCrop", "TextImage",
    ),
    "is for volumes, not for images": (
        "CenterCrop3D", "CoarseDropout3D", "CubicSymmetry", "Pad3D", "PadIfNeeded3D", "RandomCrop3D", "ToTensor3D",
    ),
    "changes the kind of pixels, which the model's own preprocessing does": (
        "FromFloat", "Normalize", "ToFloat", "ToRGB", "ToTensorV2",
    ),
    "takes code, not plain arguments": ("Lambda",),
}  # fmt: skip
_WHY_UNFIT = {name: reason for reason, names in _UNFIT.items() for name in names}
_ABSTRACT = frozenset(("BasicTransform", "DualTransform", "ImageOnlyTransform", "Transform3D"))
# What albumentations and OpenCV raise on arguments that pass their schemas but fit no image.
_REFUSALS = (
    ArithmeticError, AssertionError, AttributeError, LookupError, NotImplementedError, OSError, RuntimeError, TypeError,
    ValueError, CropSizeError, cv2.error,
)  # fmt: skip
_TRIAL_SEEDS = range(3)
_FITS = {"image": fit_image, "mask": fit_mask}


class Augmenter:
    """A policy at work on images of one size. Not safe for threads: each needs its own."""

    def __init__(self, transforms: Sequence[albumentations.BasicTransform], px: int, policy_digest: str) -> None:
        self._transforms = tuple(transforms)
        self._px = px
        self.policy_digest = policy_digest
        """Of the policy as it is written."""

    @property
    def augments(self) -> bool:
        """Whether there is anything that could change an image."""
        return bool(self._transforms)

    @property
    def made_by(self) -> list[Any]:
        """Everything that a view depends on beside the image and the seed: the policy and the libraries."""
        versions = [albumentations.__version__, cv2.__version__, np.__version__]
        return [self.policy_digest, self._px, self.describe(), versions]

    def __call__(self, image: Pixels, seed: int) -> Pixels:
        """Draw one view of an image; see `view`."""
        view, _ = self.view(image, None, seed)
        return view

    def view(self, image: Pixels, target: Any, seed: int) -> tuple[Pixels, Any]:
        """Draw one view of an image, the same for the same seed whatever was drawn before.

        Args:
            image: (px, px, 3), not written to.
            target: a mask, (px, px) class ids, which moves with the image; anything else stays as it is.
            seed: not negative.

        Returns:
            (px, px, 3) and its target; the image and mask themselves if the policy is empty.
        """
        if not self._transforms:
            return image, target
        # One state for all transforms: albumentations' own `set_random_seed` gives each the same seed, so that their
        # draws would rise and fall together.
        numbers, choices = np.random.default_rng(seed), random.Random(seed)  # noqa: S311 - no secret is drawn here
        shown = {"image": np.array(image)}  # out of the memory map; and no transform promises not to write
        if isinstance(target, np.ndarray):
            shown["mask"] = np.array(target)
        for transform in self._transforms:
            transform.set_random_state(numbers, choices)
            shown = transform(**shown)
        if shown["image"].shape != image.shape:
            shown = {name: _FITS[name](pixels, self._px, "stretch") for name, pixels in shown.items()}
        return shown["image"], shown.get("mask", target)

    def describe(self) -> list[dict[str, Any]]:
        """Names and effective arguments, defaults included, read back from the live transforms as plain data."""
        return [{"transform": type(one).__name__, "arguments": _arguments(one)} for one in self._transforms]


def check_policy(policy: Policy, px: int = 224) -> list[str]:
    """Find what is wrong with a policy, by making its transforms and applying them to noise.

    Args:
        policy: a name, or transforms with their arguments.
        px: the side of the images that it will be applied to.

    Returns:
        One line per fault, beginning with its place (`augment.1.arguments.rotat: ...`); empty for a sound policy.
    """
    if isinstance(policy, str):
        return []
    faults: list[str] = []
    noise = [np.random.default_rng(seed).integers(0, 256, (px, px, 3), np.uint8) for seed in _TRIAL_SEEDS]
    for place, written in enumerate(policy):
        found = _name_faults(written)
        if not found:
            try:
                noise, found = _tried(written.transform, _made(written), noise)
            except _REFUSALS as error:
                found = [f"arguments{line}" for line in _refusal_lines(written.transform, error)]
        faults += [f"augment.{place}.{fault}" for fault in found]
    return faults


def build_policy(policy: Policy, px: int, *, masks: bool = False) -> Augmenter:
    """Make a policy for images of side `px`.

    With `masks`, what a transform brings in from beyond a mask's border does not count, unless its `fill_mask` says
    what it is.

    Raises:
        SpaceFileError: everything that `check_policy` finds.
    """
    faults = check_policy(policy, px)
    if faults:
        raise SpaceFileError(faults)
    transforms = _transforms_of(policy, px)
    made = [_made(_with_uncounted_border(one) if masks else one) for one in transforms]
    return Augmenter(made, px, _digest(policy))


def _digest(policy: Policy) -> str:
    written = policy if isinstance(policy, str) else [one.model_dump(mode="json") for one in policy]
    return hashlib.sha256(json.dumps(written, sort_keys=True).encode()).hexdigest()[:16]


def _with_uncounted_border(written: Transform) -> Transform:
    """Give a transform that fills masks a fill that does not count; one that fills none by default stays as it is."""
    found = _class_of(written.transform)
    fill = inspect.signature(found).parameters.get("fill_mask") if found else None
    if fill is None or fill.default is None or "fill_mask" in written.arguments:
        return written
    return written.model_copy(update={"arguments": {**written.arguments, "fill_mask": IGNORED_ID}})


def _transforms_of(policy: Policy, px: int) -> Sequence[Transform]:
    """What a policy's name stands for. Photographs have an up and a down: only `aerial` turns them over."""
    if not isinstance(policy, str):
        return policy
    flip = _transform("HorizontalFlip", p=0.5)
    match policy:
        case "none":
            return ()
        case "light":
            return (
                flip,
                _transform("Affine", scale=(0.9, 1.1), translate_percent=(-0.06, 0.06), rotate=(-10, 10), p=0.7),
                _transform("RandomBrightnessContrast", brightness_limit=0.15, contrast_limit=0.15, p=0.5),
            )
        case "aerial":
            return (
                _transform("Rotate", limit=(-360, 360), border_mode=cv2.BORDER_REPLICATE, p=0.9),
                _transform("RandomSizedCrop", min_max_height=(math.ceil(0.75 * px), px), size=(px, px), p=1.0),
                flip,
            )
        case "strong":
            hole = (0.1, 0.25)
            return (
                flip,
                _transform("Affine", rotate=(-20, 20), shear=(-8, 8), p=0.7),
                _transform("RandomResizedCrop", size=(px, px), scale=(0.5, 1.0), ratio=(0.8, 1.25), p=0.8),
                _transform(
                    "ColorJitter",
                    brightness=(0.7, 1.3),
                    contrast=(0.7, 1.3),
                    saturation=(0.6, 1.4),
                    hue=(-0.04, 0.04),
                    p=0.8,
                ),
                _transform(
                    "CoarseDropout", num_holes_range=(1, 4), hole_height_range=hole, hole_width_range=hole, p=0.5
                ),
            )


def _transform(name: str, **arguments: object) -> Transform:
    return Transform(transform=name, arguments=arguments)


def _class_of(name: str) -> type[albumentations.BasicTransform] | None:
    found = getattr(albumentations, name, None)
    known = inspect.isclass(found) and issubclass(found, albumentations.BasicTransform) and name not in _ABSTRACT
    return found if known else None


def _usable_names() -> list[str]:
    return [name for name in dir(albumentations) if name not in _WHY_UNFIT and _class_of(name) is not None]


def _name_faults(written: Transform) -> list[str]:
    name = written.transform
    found = _class_of(name)
    if found is None and inspect.isclass(getattr(albumentations, name, None)):
        return [f"transform: {name} is no single transform; write transforms one after the other, each with its own p"]
    if found is None:
        return [f"transform: albumentations has no transform {name!r}{_did_you_mean(name, _usable_names())}"]
    if name in _WHY_UNFIT:
        return [f"transform: {name} {_WHY_UNFIT[name]}; leave it out"]
    accepted = [argument for argument in inspect.signature(found).parameters if argument != "strict"]
    unknown = [argument for argument in written.arguments if argument not in accepted]
    # albumentations only warns about these, and trains without them.
    return [f"arguments.{one}: unknown argument of {name}{_did_you_mean(one, accepted)}" for one in unknown]


def _made(written: Transform) -> albumentations.BasicTransform:
    found = _class_of(written.transform)
    assert found is not None  # noqa: S101 - `_name_faults` has seen to it
    # Where a schema fails for another reason than a value, albumentations warns and takes its defaults, unless strict.
    strict = {"strict": True} if "InitSchema" in vars(found) else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice on which of two equal transforms to prefer
        return found(**written.arguments, **strict)


def _tried(
    name: str, transform: albumentations.BasicTransform, images: Sequence[Pixels]
) -> tuple[list[Pixels], list[str]]:
    """Apply a transform to what those before it left, whatever its probability; returns the results, and faults."""
    seen: list[Pixels] = []
    for seed, image in enumerate(images):
        transform.set_random_state(np.random.default_rng(seed), random.Random(seed))  # noqa: S311
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            seen.append(transform(image=np.array(image), force_apply=True)["image"])
    if any(one.dtype != np.uint8 or one.ndim != 3 or one.shape[2] != 3 for one in seen):
        return list(images), [
            f"arguments: with these, {name} gives no RGB image of 8 bits; leave it out or change them"
        ]
    return seen, []


def _refusal_lines(name: str, error: Exception) -> list[str]:
    """One line per refused argument, from pydantic's faults where there are any."""
    details = getattr(error.__cause__, "errors", None)
    if details is None:
        return [f": {name} refuses them: {' '.join(str(error).split()) or type(error).__name__}"]
    by_argument: dict[str, list[Mapping[str, Any]]] = {}
    for detail in details():
        by_argument.setdefault("".join(f".{part}" for part in detail["loc"][:1]), []).append(detail)
    return [
        f"{argument}: {name}: {' or '.join(dict.fromkeys(detail['msg'] for detail in found))}{_input_of(found[0])}"
        for argument, found in by_argument.items()
    ]


def _input_of(detail: Mapping[str, Any]) -> str:
    return "" if detail["type"] == "missing" or not detail["loc"] else f"; {detail['input']!r:.80} was written"


def _did_you_mean(written: str, known: Sequence[str]) -> str:
    close = get_close_matches(written, known, n=3, cutoff=0.6)
    if close:
        return f"; did you mean {' or '.join(repr(name) for name in close)}?"
    return f"; it has {', '.join(known)}" if len(known) <= 20 else "; see the list of transforms on albumentations.ai"


def _arguments(transform: albumentations.BasicTransform) -> dict[str, Any]:
    state = transform.to_dict_private()
    return {name: _plain(value) for name, value in sorted(state.items()) if not name.startswith("__")}


def _plain(value: object) -> Any:
    """Lists, dicts and scalars that YAML can write."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case np.generic() | np.ndarray():
            return value.tolist()
        case Enum():
            return _plain(value.value)
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(item) for item in value]
        case _:
            return repr(value)
