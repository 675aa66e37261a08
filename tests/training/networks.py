"""Tiny networks, and memory that does not suffice."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tune_cnn.models.classifier import Classifier
from tune_cnn.models.freeze import UnitLine
from tune_cnn.models.network import Network

NO_CHANGE = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def tiny(*layers: nn.Module, classes: int = 3, per_pixel: bool = False) -> Classifier:
    """A convolution, some layers that keep its six channels, and a head that says a class per image, or per pixel."""
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 6, 3, padding=1)
    top = (
        nn.Conv2d(6, classes, 1)
        if per_pixel
        else nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, classes))
    )
    line = UnitLine((1,) * (1 + len(layers)), (1,) * (1 + len(layers)))
    return Classifier(nn.Sequential(convolution, *layers), top, line, NO_CHANGE)


def short_of_memory(network: Network, images: int) -> Network:
    """Let a network run out of memory with more than so many images, once its backbone is through with them."""
    network.get_submodule("head").register_forward_pre_hook(refuse_more_than(images))
    return network


def refuse_more_than(images: int) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    """A hook under which a module runs out of memory with more than so many images."""

    def refuse(_module: nn.Module, arguments: tuple[Any, ...]) -> None:
        (maps,) = arguments
        if len(maps) > images:
            raise torch.OutOfMemoryError(f"CUDA out of memory: {len(maps)} images")

    return refuse


def images(count: int, px: int = 8) -> Tensor:
    return torch.randn(count, 3, px, px, generator=torch.Generator().manual_seed(1))
