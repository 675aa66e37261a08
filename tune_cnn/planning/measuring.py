"""Time what a space may draw on the machine at hand: which networks, sizes, depths and batches, and in which order."""

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from tune_cnn.config import TrialConfig
from tune_cnn.data.cache import Cache
from tune_cnn.data.dataset import ImageData
from tune_cnn.data.fetch import located
from tune_cnn.planning.guess import guessed_times, scale_of
from tune_cnn.planning.slots import Slots
from tune_cnn.planning.work import ModelKey, Work, draws, policy_label, work_of
from tune_cnn.sections.image import Policy
from tune_cnn.space.schema import Space
from tune_cnn.training.times import ImageTimes, ModelTimes

if TYPE_CHECKING:
    from tune_cnn.training.watch import Watch

DRAWS = 600
"""Configurations that stand for all that the space may draw."""
_MOST_MODELS = 6
_MOST_SECONDS = 40.0
_MOST_BESIDE = 15

Note = Callable[[str], None]


@dataclass(frozen=True)
class Candidate:
    """A network at one size as the draws use it."""

    key: ModelKey
    example: TrialConfig
    share: float
    """Of the draws."""
    depths: tuple[int, ...]
    """Frozen units to time a step at."""
    batch_sizes: tuple[int, ...]


@dataclass(frozen=True)
class Pool:
    """Configurations drawn from a space, the defaults first, and what decides their cost."""

    configs: tuple[TrialConfig, ...]
    works: tuple[Work, ...]

    @classmethod
    def drawn(cls, space: Space, count: int = DRAWS) -> "Pool":
        """Draw from a space by its own seed: the same space gives the same pool."""
        threads = max(1, int(space.search.per_trial.cpus))
        configs = tuple(islice(draws(space, random.Random(space.search.seed), cpu_threads=threads), count))  # noqa: S311
        return cls(configs, tuple(map(work_of, configs)))

    def candidates(self) -> list[Candidate]:
        """Give the networks with their sizes, the one most often drawn first."""
        counted = Counter(work.model for work in self.works)
        return [self._candidate(key, count / len(self.works)) for key, count in counted.most_common()]

    def policies(self, px: int) -> dict[str, Policy]:
        """Give the augmentations of images of a size, by name."""
        return {policy_label(one.augment): one.augment for one in self.configs if one.image.px == px}

    def _candidate(self, key: ModelKey, share: float) -> Candidate:
        places = [place for place, work in enumerate(self.works) if work.model == key]
        works = [self.works[place] for place in places]
        units, frozen = works[0].units, {work.frozen_units for work in works}
        if any(work.training.warm_up.epochs for work in works):
            frozen.add(units)
        inner = {depth for depth in (units // 2, units * 3 // 4) if min(frozen) < depth < max(frozen)}
        depths = tuple(sorted({min(frozen), max(frozen), *inner}))
        batches = tuple(sorted({work.training.batch_size for work in works}))
        return Candidate(key, self.configs[places[0]], share, depths, batches)


@dataclass(frozen=True)
class Measured:
    """Times of all that was drawn: measured, or for what was left out guessed from the others."""

    models: Mapping[ModelKey, ModelTimes]
    images: Mapping[int, ImageTimes]
    left_out: tuple[Candidate, ...]
    load: float
    """How much longer everything takes here and now than on a machine without other work; within the times."""


def measure(pool: Pool, data: ImageData, *, cache: Cache, note: Note) -> Measured:
    """Measure images and networks.

    Args:
        pool: what may be drawn; from the most often drawn network on as many are measured as some time allows.
        data: the images, opened.
        cache: keeps in which precision a GPU trains a network fastest; checkpoints are tried on its disk.
        note: told what is being measured.

    Raises:
        SpaceFileError, TrialError: a network cannot be built or trained.
    """
    from tune_cnn.training.batches import best_device  # torch: takes seconds
    from tune_cnn.training.watch import Watch

    candidates = pool.candidates()
    watch = Watch(best_device(), pool.configs[0].cpu_threads)
    images = {px: _images(px, pool, data, watch, note, cache) for px in sorted({one.key.px for one in candidates})}
    models = _models(candidates, len(data.classes), watch, cache, note)
    return Measured(
        models={key: times.scaled(watch.load) for key, times in _filled(models, candidates).items()},
        images={px: times.scaled(watch.load) for px, times in images.items()},
        left_out=tuple(one for one in candidates if one.key not in models),
        load=watch.load,
    )


def _models(
    candidates: Sequence[Candidate], classes: int, watch: "Watch", cache: Cache, note: Note
) -> dict[ModelKey, ModelTimes]:
    from tune_cnn.training.timing import measure_model

    began = time.monotonic()
    models: dict[ModelKey, ModelTimes] = {}
    for one in candidates[:_MOST_MODELS]:
        if models and time.monotonic() - began > _MOST_SECONDS:
            break
        depths, batches = (", ".join(map(str, values)) for values in (one.depths, one.batch_sizes))
        note(f"timing {one.key.label} at {one.key.px} px: {depths} units frozen, batches of {batches} …")
        models[one.key] = measure_model(
            one.example, classes, depths=one.depths, batch_sizes=one.batch_sizes, cache=cache, watch=watch
        )
    return models


def _images(px: int, pool: Pool, data: ImageData, watch: "Watch", note: Note, cache: Cache) -> ImageTimes:
    from tune_cnn.training.timing import measure_images

    policies = pool.policies(px)
    example = next(config for config in pool.configs if config.image.px == px)
    note(f"timing images at {px} px: decoding, loading, augmentation {', '.join(policies)} …")
    with located(example.data, cache) as here:
        files = [Path(here.root) / row.file for row in data.rows]
        return measure_images(files, example.image, policies, watch=watch, masks=data.has_masks)


def _filled(models: Mapping[ModelKey, ModelTimes], candidates: Sequence[Candidate]) -> dict[ModelKey, ModelTimes]:
    """Guess what was left out, at the scale of what was measured."""
    guessed = {one.key: guessed_times(one.example) for one in candidates}
    scale = scale_of([(times, guessed[key]) for key, times in models.items()])
    saving = next(iter(models.values()))
    return {key: models.get(key) or _borrowed(guess.scaled(scale), saving) for key, guess in guessed.items()}


def _borrowed(guess: ModelTimes, other: ModelTimes) -> ModelTimes:
    """Take from another network what a guess says nothing of."""
    return replace(
        guess,
        read_seconds_per_byte=other.read_seconds_per_byte,
        build_seconds=other.build_seconds,
        saves=other.saves,
        save_best_seconds=other.save_best_seconds,
        checkpoint_mb=other.checkpoint_mb,
    )


def trials_beside(offered: Slots) -> int:
    """Say how many other trials share what one trial runs on, the machine or its GPU; many are taken for fewer."""
    on_gpu = int(1 / offered.per_trial_gpus) if offered.per_trial_gpus else offered.concurrent
    return max(0, min(_MOST_BESIDE, on_gpu - 1, offered.concurrent - 1))
