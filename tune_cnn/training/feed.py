"""What the loop feeds to which network: images to the whole one, or cached features to what is left of it behind a cut.

The one place that decides it. Both train the same tensors on the same numbers; the features only come sooner.
"""

import logging
from dataclasses import dataclass, replace

from tune_cnn.data.cache import Cache
from tune_cnn.errors import CacheUnusableError
from tune_cnn.models.cut import InexactCutError
from tune_cnn.models.network import Network
from tune_cnn.models.prefix_digest import prefix_digests
from tune_cnn.models.tail import Cut, cut_network, still_units
from tune_cnn.training.batches import Batches
from tune_cnn.training.cut_choice import cut_for
from tune_cnn.training.features import Prefix, Setting
from tune_cnn.training.ladder import find_ladder
from tune_cnn.training.micro_batches import is_out_of_memory
from tune_cnn.training.precision import FULL, Precision

_SAMPLE = 2
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fed:
    """A network, and batches of what it takes."""

    network: Network
    batches: Batches
    spared_seconds: float = 0.0
    """What the features spare per image, as it was once measured on this machine; 0 without any."""


@dataclass(frozen=True)
class FeatureUse:
    """That features are to be cached, where, and of what."""

    cache: Cache
    backbone: str
    px: int


class Feed:
    """Feeds a network as far as it stands still now; make another when that changes."""

    def __init__(self, model: Network, sample: Batches, use: FeatureUse | None, precision: Precision) -> None:
        """Choose where to cut, and say so in the log.

        Args:
            model: frozen as it is going to be trained, with the weights it is trained from.
            sample: some of the images, on which costs are measured if nobody has yet.
            use: None feeds images to the whole network.
            precision: what it is going to compute in.
        """
        self._model = model
        self._sample = sample
        self._cut: Cut | None = None
        still = still_units(model)
        if use is None or not still:
            return
        setting = Setting(use.backbone, use.px, sample.device, precision)
        try:
            self._ladder = find_ladder(model, setting, sample, use.cache)
        except RuntimeError as error:
            self._give_up_for_want_of_memory(error)
            return
        self._rungs = dict(self._ladder.rungs)
        self._prefix = Prefix(model, setting, prefix_digests(model, still), use.cache)
        self._choose()

    @property
    def cut(self) -> Cut | None:
        """Where the network is cut; None if it is fed with images."""
        return self._cut

    def of(self, view: Batches) -> Fed:
        """Give what trains or scores the model on a view: with its features where there are or can be any."""
        while self._cut is not None and view.key:
            cut = self._cut
            try:
                rows = self._prefix.features(view, cut, self._rungs[cut.units], self._rungs)
            except CacheUnusableError as error:
                log.info("no features are cached: %s", error)
                self._cut = None
            except InexactCutError as error:
                log.info("other features are tried: %s", error)
                del self._rungs[cut.units]
                self._choose()
            except RuntimeError as error:
                self._give_up_for_want_of_memory(error)
            else:
                return Fed(
                    cut.tail, replace(view, source=rows, key=f"{view.key} {cut.units}"), self._spared_seconds(cut)
                )
        return Fed(self._model, view)

    def _choose(self) -> None:
        units = cut_for(still_units(self._model), self._ladder.costs, self._rungs)
        if units is None:
            self._cut = None
            log.info("no features are cached: none of the frozen units is worth it")
            return
        self._cut = cut_network(self._model, units, self._sample.sample(_SAMPLE))
        log.info("features are cached after %s", self.place())

    def _give_up_for_want_of_memory(self, error: RuntimeError) -> None:
        """Feed images from here on: training can make its batches smaller, what features are computed in cannot be.

        Raises:
            RuntimeError: it is another error.
        """
        if not is_out_of_memory(error):
            raise error
        log.info("no features are cached: computing them runs out of memory")
        self._cut = None

    def place(self) -> str:
        """Say in words where the network is cut; empty if it is not."""
        if self._cut is None:
            return ""
        units = self._cut.units
        size = sum(form.size_bytes for form in self._rungs[units])
        names = self._model.units
        return f"unit {units} of {len(names)} ({names[units - 1]}), {size / 2**10:.3g} KiB per image"

    def _spared_seconds(self, cut: Cut) -> float:
        costs = self._ladder.costs
        return costs.up_to(cut.units, cut=0) - costs.reading(cut.units)


@dataclass(frozen=True)
class Feeds:
    """What a phase of a training is fed with: training may compute in half precision, scores never do."""

    train: Feed
    val: Feed

    @classmethod
    def of(cls, model: Network, sample: Batches, use: FeatureUse | None, precision: Precision = FULL) -> "Feeds":
        """Choose for a network as it stands still now; see `Feed`."""
        train = Feed(model, sample, use, precision)
        return cls(train, train if precision == FULL else Feed(model, sample, use, FULL))
