"""An untouched ImageNet network with its own classifier: what it says of images that nobody trained it on."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from timm.data import ImageNetInfo, create_transform, infer_imagenet_subset, resolve_data_config
from torch import Tensor, nn

from tune_cnn.data.decode import Pixels
from tune_cnn.errors import WeightsError
from tune_cnn.models.classifier import whole_network


@dataclass(frozen=True)
class ZeroShot:
    """A published network with the classes and the preprocessing it was published with."""

    network: nn.Module
    """(B, 3, H, W) to (B, classes), in eval mode on the CPU."""
    classes: tuple[str, ...]
    """Each once: the first word for it, or as many as tell it from the others."""
    preprocess: Callable[[Pixels], Tensor]
    """(H, W, 3) pixels of any size to (1, 3, px, px): resized, the middle cut out, normalised."""


def open_zero_shot(backbone: str, file: Path) -> ZeroShot:
    """Load a network with its own classifier.

    Args:
        backbone: a timm name that is known to fit the file.
        file: safetensors.

    Raises:
        WeightsError: the file holds no such classifier, or one whose classes timm cannot name.
    """
    network = whole_network(backbone, file)
    if network is None:
        raise WeightsError(
            f"{file}: holds no classifier of {backbone} for ImageNet, so it cannot name what it sees; give --weights "
            "DIR with a file that was published with its classifier, or train a model and ask that"
        )
    settings: dict[str, Any] = resolve_data_config({}, model=network)
    transform = create_transform(**settings)

    def preprocess(pixels: Pixels) -> Tensor:
        found: Tensor = transform(Image.fromarray(pixels))
        return found[None]

    return ZeroShot(network.eval(), _classes(network, backbone), preprocess)


def _classes(network: nn.Module, backbone: str) -> tuple[str, ...]:
    count = int(network.num_classes)  # type: ignore[arg-type]
    subset = infer_imagenet_subset(network)
    labels: Sequence[str] = ImageNetInfo(subset).label_names() if subset else ()
    if len(labels) != count or not count:
        raise WeightsError(
            f"{backbone}: has {count} classes whose names are not known; take a backbone of ImageNet's 1000 classes, "
            "such as tf_efficientnet_lite0"
        )
    return short_names(labels, ImageNetInfo(subset).label_descriptions())


def short_names(labels: Sequence[str], words: Sequence[str]) -> tuple[str, ...]:
    """Give each class a short name that no other has.

    Args:
        labels: a unique label for each class, such as `n02012849`.
        words: the words for each class, with commas between them: `crane`, or `goldfish, Carassius auratus`.

    Returns:
        The first word where no other class begins with it, else all words, else all words and the label.
    """
    firsts = [each.split(",")[0].strip() for each in words]
    of_first, of_all = (Counter(name.lower() for name in names) for names in (firsts, words))
    return tuple(
        first if of_first[first.lower()] == 1 else every if of_all[every.lower()] == 1 else f"{every} ({label})"
        for label, first, every in zip(labels, firsts, words, strict=True)
    )


def probabilities(zero_shot: ZeroShot, pixels: Pixels) -> list[float]:
    """Give the probability of each class for one image of any size.

    Args:
        zero_shot: the network, wherever its parameters are.
        pixels: (H, W, 3).
    """
    device = next(zero_shot.network.parameters()).device
    with torch.inference_mode():
        logits = zero_shot.network(zero_shot.preprocess(pixels).to(device))
        shares: list[float] = torch.softmax(logits[0].double(), dim=0).tolist()
    return shares
