"""Which share of a GPU a trial gets with `per_trial.gpus: auto`: by what the greediest of a space was seen to take."""

import random
from itertools import islice

from tune_cnn.config import TrialConfig
from tune_cnn.models.trunk import frozen_units_of
from tune_cnn.planning.work import draws, model_label
from tune_cnn.space.schema import Space

MOST_ON_A_GPU = 8
"""Trials; more of them would wait for each other rather than fill gaps."""
SPARE = 1.25
"""What is kept for a trial over what was measured: images that lie on the GPU, memory in pieces, larger heads."""
_DRAWS = 300
_MOST_MODELS = 6
# Ray counts resources in ten-thousandths.
_UNITS = 10_000


def share_of_gpu(*, used_mb: float, total_mb: float) -> float:
    """Give 1/n, rounded so that n of them are no more than one GPU.

    Args:
        used_mb: what the greediest trial takes, above 0.
        total_mb: what the GPU has.
    """
    trials = max(1, min(MOST_ON_A_GPU, int(total_mb / (SPARE * used_mb))))
    return (_UNITS // trials) / _UNITS


def greediest(space: Space) -> list[TrialConfig]:
    """Give of each network that a space may draw the configuration that needs most memory, of at most six networks.

    Within a network that is the one with the most pixels in a batch, of these the one with the fewest frozen units.
    """
    threads = max(1, int(space.search.per_trial.cpus))
    drawn = islice(draws(space, random.Random(space.search.seed), cpu_threads=threads), _DRAWS)  # noqa: S311
    largest: dict[str, TrialConfig] = {}
    for config in drawn:
        label = model_label(config.model)
        if label not in largest or _greed(config) > _greed(largest[label]):
            largest[label] = config
    return sorted(largest.values(), key=_greed, reverse=True)[:_MOST_MODELS]


def _greed(config: TrialConfig) -> tuple[int, int]:
    return config.training.batch_size * config.image.px**2, -frozen_units_of(config.model)
