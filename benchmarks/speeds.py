"""How fast the bare parts of a search's networks run here while the other cores train too: the stuff of its floor."""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tune_cnn.config import TrialConfig
from tune_cnn.data.cache import Cache
from tune_cnn.models.trunk import frozen_units_of
from tune_cnn.results.records import RunFolder
from tune_cnn.training.batches import best_device
from tune_cnn.training.busy import kept_busy
from tune_cnn.training.times import ModelTimes
from tune_cnn.training.timing import measure_images, measure_model
from tune_cnn.training.watch import Watch
from tune_cnn.yaml_files import load_model


def measure(configs: Sequence[TrialConfig], *, beside: int) -> tuple[dict[str, ModelTimes], float]:
    """Time the networks of some trials at their freeze depths.

    Args:
        configs: of trials on the same images, with the same batch size.
        beside: how many other processes train meanwhile.

    Returns:
        The times of each backbone, and the seconds that decoding one image takes in one thread.
    """
    first, models = configs[0], {}
    watch = Watch(best_device(), first.cpu_threads)
    files = sorted(Path(first.data.root).glob("train/*/*"))
    classes = len({file.parent for file in files})
    with tempfile.TemporaryDirectory() as folder, kept_busy(first, Cache(Path(folder)), beside) as wait:
        wait()
        for name in dict.fromkeys(config.model.backbone_name for config in configs):
            ours = [config for config in configs if config.model.backbone_name == name]
            depths = sorted({frozen_units_of(config.model) for config in ours})
            sizes = [first.training.batch_size]
            models[name] = measure_model(
                ours[0], classes, depths=depths, batch_sizes=sizes, cache=Cache(Path(folder)), watch=watch
            )
        images = measure_images(files, first.image, {}, watch=watch)
    return {name: times.scaled(watch.load) for name, times in models.items()}, images.scaled(watch.load).decode_seconds


def read(found: dict[str, Any]) -> tuple[dict[str, ModelTimes], float]:
    """Read what --json wrote."""
    return {name: ModelTimes.from_json(times) for name, times in found["models"].items()}, found["decode_seconds"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="a run folder of a search of classification")
    parser.add_argument("--beside", type=int, default=1, help="processes that train meanwhile")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    asked = parser.parse_args()
    run = RunFolder(asked.run)
    configs = [load_model(file, TrialConfig) for file in sorted(run.path.glob("trials/*/config.yaml"))]
    models, decode_seconds = measure(configs, beside=asked.beside)
    for name, times in models.items():
        print(f"{name}: forward {1000 * times.forward_seconds:.2f} ms per image")
        for step in times.steps:
            prefix, rest = 1000 * step.prefix_seconds, 1000 * step.rest_seconds
            print(f"  {step.frozen_units} units frozen: prefix {prefix:.2f} ms, rest of a step {rest:.2f} ms")
    print(f"decoding {1000 * decode_seconds:.2f} ms per image")
    if asked.json:
        found = {"models": {name: times.as_json() for name, times in models.items()}, "decode_seconds": decode_seconds}
        asked.json.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
