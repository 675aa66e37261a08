"""What stands between a backbone's features and the classes."""

from collections.abc import Iterator
from itertools import pairwise

from torch import nn

from tune_cnn.models.custom import blocks
from tune_cnn.sections.model import HeadConfig


def build_head(features: int, config: HeadConfig, classes: int, *, map_px: int | None = None) -> nn.Module:
    """Build the head: per hidden width a dense layer, BatchNorm if asked, ReLU, dropout; then dropout and the classes.

    Without hidden layers it is dropout and one dense layer. The classes' layer always has one dropout before it. On a
    map the convolutions come first, then its mean or all its pixels.

    Args:
        features: width of the pooled features, (B, features), or channels of the map, (B, features, h, w).
        config: convolutions, hidden widths, batch norm, dropout rate.
        classes: width of the logits, (B, classes).
        map_px: height and width of the map after the convolutions; None for features that are pooled already.
    """
    front: list[nn.Module] = []
    if map_px is not None:
        front = [*blocks(features, config.convolutions)]
        front += [nn.Flatten()] if config.features == "flat" else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        features = config.convolutions[-1].conv if config.convolutions else features
        features *= map_px**2 if config.features == "flat" else 1
    widths = (features, *config.hidden)
    hidden = [layer for pair in pairwise(widths) for layer in _hidden(*pair, config)]
    first_dropout = [] if config.hidden else [nn.Dropout(config.dropout)]
    return nn.Sequential(*front, *hidden, *first_dropout, nn.Linear(widths[-1], classes))


def _hidden(inputs: int, outputs: int, config: HeadConfig) -> Iterator[nn.Module]:
    # BatchNorm's own shift takes the place of the bias, which it would subtract again.
    yield nn.Linear(inputs, outputs, bias=not config.batch_norm)
    if config.batch_norm:
        yield nn.BatchNorm1d(outputs)
    yield nn.ReLU()
    yield nn.Dropout(config.dropout)
