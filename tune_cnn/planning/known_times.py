"""What `tune-cnn plan` measured, kept beside the caches of its machine, for the forecasts of searches of that space."""

import json
from pathlib import Path
from typing import Any

from tune_cnn.files import write_whole
from tune_cnn.planning.cost import Costs, Images
from tune_cnn.planning.slots import Slots
from tune_cnn.planning.work import ModelKey
from tune_cnn.space.schema import Space
from tune_cnn.training.times import ImageTimes, ModelTimes

# Raise it when times of the same names come to mean something else.
_FORMAT = 1


def keep_times(cache_dir: Path, space: Space, offered: Slots, costs: Costs) -> None:
    """Keep what was measured of a space, in the place of what was measured of it before.

    Raises:
        OSError: the folder cannot be written.
    """
    body = {
        "format": _FORMAT,
        "models": [[*key, times.as_json()] for key, times in costs.models.items()],
        "images": {str(px): times.as_json() for px, times in costs.images.items()},
        "counts": vars(costs.counts),
        "begin_seconds": costs.begin_seconds,
        "start_seconds": costs.start_seconds,
        "decoded_px": costs.decoded_px,
        "decoding_threads": costs.decoding_threads,
    }
    write_whole(_file(cache_dir, space, offered.concurrent), json.dumps(body))


def known_times(cache_dir: Path, space: Space, offered: Slots) -> Costs | None:
    """Give what was kept for a space and so many trials at a time; None if nothing was, or it cannot be read."""
    try:
        body = json.loads(_file(cache_dir, space, offered.concurrent).read_bytes())
        return _costs(body) if body["format"] == _FORMAT else None
    except (OSError, ValueError, OverflowError, TypeError, LookupError, AttributeError):
        return None


def _costs(body: dict[str, Any]) -> Costs:
    return Costs(
        models={ModelKey(label, px): ModelTimes.from_json(times) for label, px, times in body["models"]},
        images={int(px): ImageTimes(**times) for px, times in body["images"].items()},
        counts=Images(**body["counts"]),
        begin_seconds=float(body["begin_seconds"]),
        start_seconds=float(body["start_seconds"]),
        decoded_px=tuple(body["decoded_px"]),
        decoding_threads=int(body["decoding_threads"]),
    )


def _file(cache_dir: Path, space: Space, concurrent: int) -> Path:
    return cache_dir / "timings" / f"{space.digest()[:24]}-{concurrent}.json"
