"""Trials with and without cached features, side by side, at cuts that do not depend on how fast this machine is."""

from pathlib import Path

import torch

from tune_cnn.config import TrialConfig
from tune_cnn.data.cache import Cache
from tune_cnn.data.dataset import open_data
from tune_cnn.models.build import build_network
from tune_cnn.models.network import Network
from tune_cnn.results.records import EpochRecord, TrialFolder
from tune_cnn.training.batches import Batches, best_device
from tune_cnn.training.cut_choice import Costs
from tune_cnn.training.features import Setting
from tune_cnn.training.ladder import KIND, Ladder, ladder_key, prove_ladder
from tune_cnn.trial import run_trial


def costs_of(model: Network) -> Costs:
    """Costs at which each cut is worth having, and the deepest the most."""
    units = len(model.units)
    inside = (1 if model.can_be_cut_inside else None,) * (units - 1)
    return Costs((1.0,) * units, (*inside, 1), image_bytes=1, image_seconds=1.0, seconds_per_byte=1e-9)


def note_ladder(config: TrialConfig, cache: Cache) -> Ladder:
    """Note costs for the network of a config as if they had been measured."""
    torch.set_num_threads(config.cpu_threads)  # as the trial will
    data = open_data(config.data, config.image, cache=cache)
    model = build_network(config.model, len(data.classes), px=config.image.px)
    setting = Setting(config.model.backbone_name, config.image.px, best_device())
    val = data.splits["val"]
    view = Batches.of(val.images, val.targets, batch_size=2, preprocessing=model.preprocessing, device=setting.device)
    costs = costs_of(model)
    note = cache.note(KIND, ladder_key(model, setting), lambda: prove_ladder(model, view, setting, costs).as_json())
    return Ladder.from_json(note)


def both(config: TrialConfig, folder: Path, cache: Cache) -> tuple[list[EpochRecord], list[EpochRecord]]:
    """Train a config with and without cached features."""
    note_ladder(config, cache)
    cached, plain = (
        run_trial(config, TrialFolder(folder / str(use)), metric="-val_loss", cache=cache, cache_features=use)
        for use in (True, False)
    )
    return cached, plain
