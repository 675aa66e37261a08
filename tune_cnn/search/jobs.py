"""From what was drawn to a job that a worker can run alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tune_cnn.config import TrialConfig
from tune_cnn.errors import SpaceFileError
from tune_cnn.results.records import RunFolder, Scalar, TrialFolder
from tune_cnn.search.retries import Loss
from tune_cnn.search.study import Study
from tune_cnn.space.nodes import Drawn
from tune_cnn.space.schema import Space
from tune_cnn.yaml_files import load_model


@dataclass(frozen=True)
class Job:
    """One trial to run: everything a worker needs to know."""

    number: int
    config: TrialConfig
    folder: Path
    expected_data: str | None
    """The fingerprint of the images the search began with; None if this config may see others of them."""
    losses: tuple[Loss, ...] = ()
    """What it was interrupted by under earlier drivers."""
    note: str = ""
    """What its log is to say first: that it was interrupted, and goes on."""
    told_epochs: int = 0
    """How many of its epochs the driver has been told of: so far it had got somewhere, be it here or elsewhere."""


class Jobs:
    """Makes jobs of one search, with images and weights where they lie now."""

    def __init__(
        self, space: Space, run: RunFolder, *, weights_files: Mapping[tuple[str, str], Path | None], data: str
    ) -> None:
        self._space, self._run, self._weights_files, self._data = space, run, weights_files, data
        self._default = self._config(space.tree_of(space.defaults()).tree)

    def make(self, number: int, drawn: Drawn) -> Job:
        """Give the job of one trial."""
        config = self._config(drawn.tree)
        expected = self._data if self._sees_the_same_files(config) else None
        return Job(number, config, self._run.trial(number).path, expected)

    def asked(self, number: int, study: Study) -> TrialConfig:
        """Give the config of an earlier trial.

        It comes from the study, which is synced and sealed, and not from config.yaml, which a power cut may have left
        half-written; except where the trial is of an earlier space, which this one does not hold.

        Raises:
            SpaceFileError: then config.yaml is missing or damaged.
        """
        try:
            drawn = study.ask_again(number, self._space)
        except SpaceFileError:
            return load_model(self._run.trial(number).config, TrialConfig)
        return self.make(number, drawn).config

    def repeat(self, asked: TrialConfig, number: int, folder: TrialFolder, *, seed_step: int) -> Job:
        """Give a job that trains the config of an earlier trial again, on the whole training split: without folds.

        Args:
            asked: the trial's own.
            number: of the job.
            folder: where it is trained.
            seed_step: how far its seed lies from the trial's.
        """
        data = asked.data.model_copy(update={"root": self._default.data.root})
        file = self._weights_files[asked.model.backbone_name, asked.model.weights]
        model = asked.model.model_copy(update={"weights_file": file and str(file)})
        config = asked.model_copy(update={"data": data, "model": model, "seed": asked.seed + seed_step, "folds": None})
        return Job(number, config, folder.path, self._data if self._sees_the_same_files(config) else None)

    def _config(self, tree: Any) -> TrialConfig:
        search = self._space.search
        # One seed for all: order, augmentation and head start alike, so that trials differ by their values alone.
        asked = self._space.config(
            tree, seed=search.seed, cpu_threads=max(1, int(search.per_trial.cpus)), weights_file=None
        )
        file = self._weights_files[asked.model.backbone_name, asked.model.weights]
        model = asked.model.model_copy(update={"weights_file": file and str(file)})
        return asked.model_copy(update={"model": model})

    def _sees_the_same_files(self, config: TrialConfig) -> bool:
        """Whether the driver's fingerprint, made with the defaults, is that of a config's images too."""
        same_limit = config.image.max_megapixels == self._default.image.max_megapixels
        return config.data == self._default.data and same_limit


def table_values(drawn: Drawn) -> dict[str, Scalar]:
    """Give what was drawn by the dotted name under which the trial's files hold it.

    A section that is chosen by its kind stands there as `training.schedule.kind`.
    """
    return {_place(name, drawn.tree, value): value for name, value in drawn.named.items()}


def _place(name: str, tree: Any, value: Scalar) -> str:
    for part in name.split("."):
        tree = tree[int(part)] if isinstance(tree, list) else tree[part]
    return f"{name}.kind" if isinstance(tree, dict) and tree.get("kind") == value else name
