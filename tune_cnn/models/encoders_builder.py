"""Make `encoders.csv`: which backbones smp can use as encoders, and their units there (`make backbones`, 10 minutes).

Each is built twice without memory, as a backbone and as an encoder. Its weights are handed over unit by unit, so the
units with weights must be the first of the backbone's, one by one; a network of which this is not true is left out.
"""

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from tune_cnn.files import write_whole
from tune_cnn.models.catalogue import facts, known_backbones, line_to_text
from tune_cnn.models.catalogue_builder import LeftOutError, trace_line
from tune_cnn.models.classifier import create_backbone
from tune_cnn.models.encoders import COLUMNS, TABLE
from tune_cnn.models.freeze import UnitLine
from tune_cnn.models.segmenter import create_encoder
from tune_cnn.models.units import units_of, weight_layers


def encoder_line_of(name: str) -> UnitLine:
    """Look at one network of the catalogue.

    Raises:
        LeftOutError: smp cannot use it, or its units are others than the backbone's.
    """
    try:
        with torch.device("meta"), torch.no_grad():
            trunk = create_encoder(name).eval().get_submodule("model")
            line, _ = trace_line(trunk, facts(name).px)
            known = _shapes(create_backbone(name))
    except (AssertionError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise LeftOutError(f"smp cannot build or run it so: {type(error).__name__}: {str(error)[:100]}") from error
    kept = _shapes(trunk)
    if kept != known[: len(kept)]:
        raise LeftOutError("as an encoder it has other units")
    return line


def _shapes(network: nn.Module) -> list[dict[str, torch.Size]]:
    """The shapes of the weights of each unit that has any."""
    units = [unit for _, unit in units_of(network) if weight_layers(unit)]
    return [{name: tensor.shape for name, tensor in unit.state_dict().items()} for unit in units]


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the table, and say what is left out and why."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(str(TABLE)), help="the table to write")
    parser.add_argument("names", nargs="*", help="networks to look at; all of the catalogue if none are named")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for name in asked.names or known_backbones():
        try:
            writer.writerow({"name": name, "units": line_to_text(encoder_line_of(name))})
        except LeftOutError as error:
            sys.stdout.write(f"left out: {name}: {error}\n")
    write_whole(asked.out, text.getvalue())


if __name__ == "__main__":
    main()
