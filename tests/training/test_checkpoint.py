from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import trial_config
from tune_cnn.data.augment import build_policy
from tune_cnn.data.augmented import Augmentation, AugmentedViews
from tune_cnn.data.cache import Cache
from tune_cnn.data.dataset import ImageRows, SplitImages
from tune_cnn.models.classifier import build_classifier
from tune_cnn.training.assembly import score_of
from tune_cnn.training.batches import Batches, TrainBatches
from tune_cnn.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tune_cnn.training.loop import Training
from tune_cnn.training.objective import objective_for
from tune_cnn.training.precision import FULL, Precision

TINY = {"kind": "custom", "layers": [{"conv": 4, "pool": 4, "batch_norm": True}, {"conv": 6, "pool": 2}]}


def training(root: Path, precision: Precision = FULL) -> Training:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    images = ImageRows(pixels, np.arange(6), made_by="noise", sha256=["0"] * 6)
    split = SplitImages(images, np.array([0, 1, 0, 1, 1, 0]), tuple("abcdef"))
    batches = Batches.of(
        split.images,
        split.targets,
        batch_size=3,
        preprocessing=((0.5, 0.5, 0.5), (0.2, 0.2, 0.2)),
        device=torch.device("cpu"),
    )
    augmentation = Augmentation(split, build_policy("none", 32), seed=0, views=None, cache=Cache(root))
    config = trial_config(root, training={"epochs": 2}, model={"backbone": TINY, "head": {"dropout": 0.2}})
    torch.manual_seed(0)
    return Training(
        model=build_classifier(config.model, 2),
        frozen_units=0,
        train=TrainBatches(batches, AugmentedViews(split, augmentation)),
        val=batches,
        objective=objective_for("classification", config.training, [3, 3]),
        config=config.training,
        seed=0,
        score_of=score_of("val_accuracy"),
        precision=precision,
    )


def resumed(root: Path, before: Training) -> Training:
    save_checkpoint(root, before.checkpoint())
    checkpoint = load_checkpoint(root)
    assert checkpoint is not None
    after = training(root)
    after.resume(checkpoint)
    return after


def test_a_checkpoint_keeps_how_steps_are_made(tmp_path: Path) -> None:
    before = training(tmp_path, Precision("float16", "channels_last"))
    before.step.scaler = torch.amp.GradScaler("cpu", init_scale=128.0)
    before.step.micro.size = 2
    after = resumed(tmp_path, before)
    assert after.step.precision == Precision("float16", "channels_last")
    assert after.step.scaler.state_dict() == before.step.scaler.state_dict()
    assert (after.step.scaler.get_scale(), after.step.micro.size) == (128.0, 2)
    idle = resumed(tmp_path, training(tmp_path))
    assert (idle.step.precision, idle.step.scaler.is_enabled(), idle.step.micro.size) == (FULL, False, None)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_weights_laid_out_otherwise_than_in_the_file_go_on_alike(tmp_path: Path, layout: str) -> None:
    whole, cut = (training(tmp_path, Precision(layout=layout)) for _ in range(2))
    list(whole.epochs())
    next(cut.epochs())
    after = resumed(tmp_path, cut)
    list(after.epochs())
    convolution = next(one for one in after.model.parameters() if one.ndim == 4)
    assert convolution.is_contiguous(memory_format=torch.channels_last) == (layout == "channels_last")
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(after.model.state_dict()[name], tensor), name


def checkpoint(epoch: int) -> Checkpoint:
    optimizer = {"state": {0: {"step": torch.tensor(2.0), "note": 1}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    stopping = {"best_score": None, "best_epoch": 0, "waited_epochs": 0}
    weights = {"weight": torch.full((2, 2), float(epoch))}
    return Checkpoint(epoch, weights, optimizer, {}, stopping, {"name": "train", "first_epoch": 1}, [], {})


def test_the_newest_checkpoint_is_read_back_and_the_one_before_is_gone(tmp_path: Path) -> None:
    for epoch in (1, 2):
        save_checkpoint(tmp_path, checkpoint(epoch))
    read = load_checkpoint(tmp_path)
    assert read is not None
    assert (read.epoch, read.model["weight"][0, 0].item(), read.optimizer["state"][0]["note"]) == (2, 2.0, 1)
    assert len(list(tmp_path.iterdir())) == 2


def test_where_there_is_none_there_is_nothing_to_go_on_from(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "nowhere") is None


@pytest.mark.parametrize("damage", ["torn-json", "no-tensors", "flipped-byte", "foreign-json", "list"])
def test_from_a_damaged_checkpoint_the_trial_begins_anew_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    save_checkpoint(tmp_path, checkpoint(1))
    tensors = next(tmp_path.glob("*.safetensors"))
    match damage:
        case "torn-json":
            (tmp_path / "state.json").write_bytes((tmp_path / "state.json").read_bytes()[:-20])
        case "no-tensors":
            tensors.unlink()
        case "flipped-byte":
            tensors.write_bytes(tensors.read_bytes()[:-1] + b"x")
        case "foreign-json":
            (tmp_path / "state.json").write_text('{"epoch": 1}')
        case _:
            (tmp_path / "state.json").write_text("[]")
    assert load_checkpoint(tmp_path) is None
    assert "the checkpoint is damaged" in caplog.text
