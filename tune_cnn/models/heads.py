"""What stands between a backbone's pooled features and the classes."""

from collections.abc import Iterator
from itertools import pairwise

from torch import nn

from tune_cnn.sections.model import HeadConfig


def build_head(features: int, config: HeadConfig, classes: int) -> nn.Module:
    """Build the head: per hidden width a dense layer, BatchNorm if asked, ReLU, dropout; then dropout and the classes.

    Without hidden layers it is dropout and one dense layer. The classes' layer always has one dropout before it.

    Args:
        features: width of the pooled features, (B, features).
        config: hidden widths, batch norm, dropout rate.
        classes: width of the logits, (B, classes).
    """
    widths = (features, *config.hidden)
    hidden = [layer for pair in pairwise(widths) for layer in _hidden(*pair, config)]
    first_dropout = [] if config.hidden else [nn.Dropout(config.dropout)]
    return nn.Sequential(*hidden, *first_dropout, nn.Linear(widths[-1], classes))


def _hidden(inputs: int, outputs: int, config: HeadConfig) -> Iterator[nn.Module]:
    # BatchNorm's own shift takes the place of the bias, which it would subtract again.
    yield nn.Linear(inputs, outputs, bias=not config.batch_norm)
    if config.batch_norm:
        yield nn.BatchNorm1d(outputs)
    yield nn.ReLU()
    yield nn.Dropout(config.dropout)
