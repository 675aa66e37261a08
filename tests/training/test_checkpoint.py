from pathlib import Path

import numpy as np
import torch

from tests.conftest import trial_config
from tune_cnn.models.classifier import build_classifier
from tune_cnn.training.batches import Batches
from tune_cnn.training.checkpoint import load_checkpoint, save_checkpoint
from tune_cnn.training.loop import Training
from tune_cnn.training.objective import classification_objective
from tune_cnn.trial import score_of


def test_a_checkpoint_keeps_how_gradients_are_scaled(tmp_path: Path) -> None:
    batches = Batches.of(
        np.zeros((4, 32, 32, 3), np.uint8),
        np.array([0, 1, 0, 1]),
        batch_size=2,
        preprocessing=((0.5, 0.5, 0.5), (0.2, 0.2, 0.2)),
        device=torch.device("cpu"),
    )

    def training() -> Training:
        config = trial_config(tmp_path, training={"epochs": 2})
        return Training(
            model=build_classifier(config.model, 2),
            frozen_units=0,
            train=batches,
            val=batches,
            augment=None,
            objective=classification_objective(config.training, [2, 2]),
            config=config.training,
            seed=0,
            score_of=score_of("val_accuracy"),
        )

    before, after, idle = training(), training(), training()
    # On the CPU nothing is scaled; a scaler that is at work behaves alike there.
    before.scaler = torch.amp.GradScaler("cpu", init_scale=128.0)
    after.scaler = torch.amp.GradScaler("cpu")
    save_checkpoint(tmp_path, before.checkpoint())
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint is not None
    after.resume(checkpoint)
    assert after.scaler.state_dict() == before.scaler.state_dict()
    assert after.scaler.get_scale() == 128.0
    save_checkpoint(tmp_path, idle.checkpoint())
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint is not None
    after.resume(checkpoint)  # an idle scaler leaves the other as it is
    assert after.scaler.get_scale() == 128.0
