"""What a trial costs: from measured times, the size of the data and a configuration to seconds and bytes. No torch.

    trial  = begin + sum over its epochs
    epoch  = training images * (load + step) + validation images * (load + forward) + saving

What trials share is paid for by the first that needs it: augmented views, one set for each epoch's view, and, with
features shared, the activations of the frozen units at a cut, one set for each view and one for validation. A step then
begins at the cut.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tune_cnn.data.dataset import ImageData
from tune_cnn.planning.work import ModelKey, Work
from tune_cnn.sections.training import TrainingConfig
from tune_cnn.training.times import ImageTimes, ModelTimes

_RGB = 3
SECONDS_BETWEEN = 10.0
"""As trials keep it (`training.keeping`, which needs torch)."""


@dataclass(frozen=True)
class Sharing:
    """What trials share beyond decoded images."""

    views: bool
    """Augmented images are drawn once and kept."""
    features: bool
    """Activations at a cut of the frozen units are computed once and kept."""


SHARED = Sharing(views=True, features=True)
"""What trials of this program share."""


@dataclass(frozen=True)
class Images:
    """How many images there are."""

    train: int
    val: int
    test: int = 0

    @classmethod
    def of(cls, data: ImageData) -> "Images":
        """Count the images of an opened data set."""
        counts = {name: len(split.labels) for name, split in data.splits.items()}
        return cls(counts["train"], counts["val"], counts.get("test", 0))

    @property
    def all(self) -> int:
        """In all splits."""
        return self.train + self.val + self.test


@dataclass(frozen=True)
class Build:
    """Something that is made once for all trials."""

    kind: str
    """`views` or `features`."""
    key: str
    seconds: float
    size_bytes: int


@dataclass(frozen=True)
class EpochPrice:
    """One epoch of a configuration in one phase."""

    seconds: float
    """With all that is shared there already, without saving: what the epoch itself reports."""
    once: tuple[Build, ...] = ()
    """Made by the first trial that comes to such an epoch."""
    each_view: tuple[Build, ...] = ()
    """Likewise, for each view of the training images anew."""

    def scaled(self, factor: float) -> "EpochPrice":
        """Give the same where everything takes `factor` times as long."""
        once, each = (
            tuple(replace(build, seconds=build.seconds * factor) for build in builds)
            for builds in (self.once, self.each_view)
        )
        return EpochPrice(self.seconds * factor, once, each)

    def builds(self, view: int) -> tuple[Build, ...]:
        """Give what an epoch that sees this view needs."""
        named = (Build(each.kind, f"{each.key}/{view}", each.seconds, each.size_bytes) for each in self.each_view)
        return (*self.once, *named)


@dataclass(frozen=True)
class Price:
    """What a trial of one configuration costs."""

    work: Work
    begin_seconds: float
    """Before its first epoch, and writing its first best model."""
    warm_up: EpochPrice
    train: EpochPrice
    save_seconds: float
    """After every epoch."""
    save_best_seconds: float
    """After an epoch that is the best so far."""
    views: int | None
    """How many views of the training images there are; None for a new one in each epoch."""

    @property
    def training(self) -> TrainingConfig:
        """Its phases, epochs and patience."""
        return self.work.training

    def epoch(self, *, warm_up: bool) -> EpochPrice:
        """Give the price of an epoch of a phase."""
        return self.warm_up if warm_up else self.train

    def builds(self, epoch: int, *, warm_up: bool) -> tuple[Build, ...]:
        """Give what an epoch, counted from 1, needs to be there."""
        return self.epoch(warm_up=warm_up).builds(self.view_of(epoch))

    def view_of(self, epoch: int) -> int:
        """Say which view of the training images an epoch sees; both counted from 1 and 0."""
        return epoch - 1 if self.views is None else (epoch - 1) % self.views


@dataclass(frozen=True)
class Costs:
    """Prices trials of one search."""

    models: Mapping[ModelKey, ModelTimes]
    images: Mapping[int, ImageTimes]
    """By image size."""
    counts: Images
    begin_seconds: float = 0.0
    """From the end of one trial to the next one's first step, but for building its network."""
    start_seconds: float = 0.0
    """From the command to the first trial."""
    shared: Sharing = SHARED
    decoded_px: tuple[int, ...] = ()
    """Sizes at which all images are decoded already."""
    decoding_threads: int = 1

    def price(self, work: Work) -> Price:
        """Say what a configuration costs.

        Raises:
            KeyError: its network or its size was not measured.
        """
        times = self.models[work.model]
        train = self._fit(work, times) if work.fitted else self._epoch(work, times, work.frozen_units)
        # Of epochs shorter than this, only some are waited for until the disk has them, and the best model written.
        share = min(1.0, train.seconds / SECONDS_BETWEEN)
        save = times.save_time(work.frozen_units)
        return Price(
            work=work,
            begin_seconds=self.begin_seconds + times.build_seconds * work.folds + times.save_best_seconds,
            warm_up=self._epoch(work, times, work.units),
            train=train,
            save_seconds=(save.seconds + share * (save.synced_seconds - save.seconds)) * work.folds,
            save_best_seconds=share * times.save_best_seconds,
            views=1 if work.policy == "none" else work.training.views,
        )

    def _epoch(self, work: Work, times: ModelTimes, frozen: int) -> EpochPrice:
        images = self.images[work.model.px]
        train, val = self._seen(work.folds)
        cut = times.cut(frozen) if self.shared.features else 0
        load = times.map_bytes[cut - 1] * times.read_seconds_per_byte if cut else images.load_seconds
        drawn = 0.0 if self.shared.views or cut else images.view_seconds.get(work.policy, 0.0)
        rest = times.rest_seconds(frozen, work.training.batch_size)
        between = max(0.0, times.prefix_seconds(frozen) - times.prefix_seconds(cut))
        forward = times.forward_seconds - times.prefix_seconds(cut)
        seconds = train * (load + drawn + between + rest) + val * (load + forward)
        once, each = self._builds(work, times, images, cut)
        return EpochPrice(seconds, once, each)

    def _fit(self, work: Work, times: ModelTimes) -> EpochPrice:
        """A linear fit sees every image once, as it is; the fit itself was not measured and is left out."""
        images = self.images[work.model.px]
        train, val = self._seen(work.folds)
        cut = times.cut(work.units) if self.shared.features else 0
        load = times.map_bytes[cut - 1] * times.read_seconds_per_byte if cut else images.load_seconds
        seconds = (train + val) * (load + times.forward_seconds - times.prefix_seconds(cut))
        once, each = self._builds(replace(work, policy="none"), times, images, cut)
        return EpochPrice(seconds, once, each)

    def _seen(self, folds: int) -> tuple[int, int]:
        """Count the training and validation images of an epoch of all folds."""
        if folds == 1:
            return self.counts.train, self.counts.val
        pool = self.counts.train + self.counts.val
        return (folds - 1) * pool, pool

    def _builds(
        self, work: Work, times: ModelTimes, images: ImageTimes, cut: int
    ) -> tuple[tuple[Build, ...], tuple[Build, ...]]:
        """Give what is made once, and what is made once for each view of the training images."""
        px, counts = work.model.px, self.counts
        once, each = [*self._decoding(px)], []
        if self.shared.views and work.policy != "none":
            drawn = counts.train if work.folds == 1 else counts.train + counts.val  # once for all folds
            seconds = drawn * images.view_seconds.get(work.policy, 0.0)
            each.append(Build("views", f"{work.policy}/{px}/{work.folds > 1}", seconds, drawn * px * px * _RGB))
        if cut:
            seconds, size = images.load_seconds + times.prefix_seconds(cut), times.map_bytes[cut - 1]
            key = f"{work.model.label}/{px}/{cut}/{work.folds}"
            train, val = self._seen(work.folds)
            once.append(Build("features", f"{key}/val", val * seconds, val * size))
            if not self.shared.views:
                seconds += images.view_seconds.get(work.policy, 0.0)
            each.append(Build("features", f"{key}/{work.policy}", train * seconds, train * size))
        return tuple(once), tuple(each)

    def _decoding(self, px: int) -> tuple[Build, ...]:
        seconds = self.counts.all * self.images[px].decode_seconds / self.decoding_threads
        known = px in self.decoded_px
        return (Build("images", str(px), 0.0 if known else seconds, self.counts.all * px * px * _RGB),)
