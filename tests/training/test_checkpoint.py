from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import trial_config
from tune_cnn.data.augment import build_policy
from tune_cnn.data.augmented import Augmentation, AugmentedViews
from tune_cnn.data.cache import Cache
from tune_cnn.data.dataset import ImageRows, SplitImages
from tune_cnn.models.classifier import Classifier, build_classifier
from tune_cnn.results.best_model import BestEpoch, read_own, state_text
from tune_cnn.sections.model import ModelConfig
from tune_cnn.training.assembly import score_of
from tune_cnn.training.batches import Batches, TrainBatches
from tune_cnn.training.checkpoint import (
    Checkpoint,
    frozen_digest,
    load_checkpoint,
    moving_state,
    restore_model,
    save_checkpoint,
)
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
    save_checkpoint(root, before.checkpoint(), None)
    after = training(root)
    found = load_checkpoint(root, after.model)
    assert found is not None
    after.resume(found[0])
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


def network(*, frozen: int = 1) -> Classifier:
    """Two units of a convolution with BatchNorm, the same at each call, and a head."""
    torch.manual_seed(0)
    layers = [{"conv": 2, "pool": 4, "batch_norm": True, "repeat": 2}]
    model = {"backbone": {"kind": "custom", "layers": layers}, "freeze": {"depth": 0}}
    built = build_classifier(ModelConfig.model_validate(model), 2, px=32)
    built.freeze_to(frozen)
    return built


def checkpoint(epoch: int, model: Classifier) -> Checkpoint:
    optimizer = {"state": {0: {"step": torch.tensor(2.0), "note": 1}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    stopping = {"best_score": None, "best_epoch": 0, "waited_epochs": 0}
    units = model.frozen_units
    still = frozen_digest(model, units)
    phase = {"name": "train", "first_epoch": 1}
    return Checkpoint(epoch, moving_state(model), units, still, optimizer, {}, stopping, phase, [], {})


def best(epoch: int) -> BestEpoch:
    return BestEpoch(epoch, score=0.5, val_confusion=[[1, 0], [0, 1]])


def test_the_newest_checkpoint_the_one_before_and_the_best_epochs_tensors_are_kept_and_no_more(tmp_path: Path) -> None:
    model, so_far = network(), None
    for epoch in (1, 2, 3, 4):
        with torch.no_grad():
            model.head.get_parameter("1.bias").fill_(epoch)
        so_far = save_checkpoint(tmp_path, checkpoint(epoch, model), best(epoch) if epoch == 2 else so_far)
    found = load_checkpoint(tmp_path, network())
    assert found is not None
    read, told = found
    assert (read.epoch, read.model["head.1.bias"][0].item(), read.optimizer["state"][0]["note"]) == (4, 4.0, 1)
    assert told == so_far
    assert so_far is not None
    assert load_file(tmp_path / so_far.tensors)["model/head.1.bias"][0] == 2
    assert [file.name[:5] for file in sorted(tmp_path.glob("*.safetensors"))] == ["00002", "00003", "00004"]
    assert len(list(tmp_path.iterdir())) == 5


def test_frozen_units_are_left_out_and_all_else_comes_back_to_the_bit(tmp_path: Path) -> None:
    model = network()
    for name, tensor in model.state_dict().items():
        if not name.startswith("backbone.layers.0.") and tensor.is_floating_point():
            tensor.uniform_(1, 2)  # as if it had been trained
    save_checkpoint(tmp_path, checkpoint(1, model), None)
    built = network()
    found = load_checkpoint(tmp_path, built)
    assert found is not None
    assert not [name for name in found[0].model if name.startswith("backbone.layers.0.")]
    restore_model(found[0], built)
    assert all(torch.equal(one, built.state_dict()[name]) for name, one in model.state_dict().items())


@pytest.mark.parametrize("name", ["backbone.layers.0.conv.weight", "backbone.layers.0.norm.running_mean"])
def test_onto_other_frozen_weights_no_trial_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    save_checkpoint(tmp_path, checkpoint(1, network()), None)
    other = network()
    other.state_dict()[name].add_(1e-3)
    assert load_checkpoint(tmp_path, other) is None
    assert "the frozen weights are not those of the checkpoint; the trial begins anew" in caplog.text


def test_where_there_is_none_there_is_nothing_to_go_on_from(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "nowhere", network()) is None


def damage_newest(folder: Path, damage: str) -> None:
    plain, (*_, newest) = folder / "state.json", sorted(folder.glob("*.safetensors"))
    match damage:
        case "torn-json":
            plain.write_bytes(plain.read_bytes()[:-20])
        case "gone":
            plain.unlink()
        case "no-tensors":
            newest.unlink()
        case "flipped-byte":
            newest.write_bytes(newest.read_bytes()[:-1] + b"x")
        case "foreign-json":
            plain.write_text('{"epoch": 1}')
        case "older-version":
            plain.write_text(state_text({**read_own(plain), "format": 4}))
        case "another-digit":
            plain.write_text(plain.read_text().replace('"epoch": ', '"epoch": 1', 1))
        case _:
            plain.write_text("[]")


DAMAGES = ["torn-json", "gone", "no-tensors", "flipped-byte", "foreign-json", "list", "older-version", "another-digit"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_from_a_damaged_checkpoint_the_trial_goes_back_to_the_one_before_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    so_far = None
    for epoch in (1, 2, 3):
        so_far = save_checkpoint(tmp_path, checkpoint(epoch, network()), best(1) if epoch == 1 else so_far)
    damage_newest(tmp_path, damage)
    found = load_checkpoint(tmp_path, network())
    assert found is not None
    assert (found[0].epoch, found[1]) == (2, so_far)
    assert "goes on from the checkpoint of epoch 2, the one before" in caplog.text
    assert ("the checkpoint is damaged" in caplog.text) is (damage != "gone")


ODD_STATES: dict[str, bytes | dict[str, Any]] = {
    "empty": b"",
    "binary": bytes(range(256)),
    "number": b"7",
    "null": b"null",
    "number-without-end": b"9" * 5000,
    "nested-too-deep": b"[" * 3000 + b"]" * 3000,
    "no-format": {"format": ...},
    "format-in-words": {"format": "five"},
    "no-name-of-tensors": {"tensors": ...},
    "number-for-a-name": {"tensors": 7},
    "path-for-a-name": {"tensors": "../../etc/passwd"},
    "device-for-a-name": {"tensors": "/dev/zero"},
    "no-best": {"best": ...},
    "list-for-best": {"best": []},
    "best-without-a-score": {"best": {"epoch": 1}},
    "best-elsewhere": {"best": {"epoch": 1, "score": 0.5, "val_confusion": [], "tensors": "../x"}},
    "best-that-is-endless": {"best": {"epoch": 1, "score": 0.5, "val_confusion": [[float("inf")]]}},
    "best-beyond-64-bits": {"best": {"epoch": 1, "score": 0.5, "val_confusion": [[2**63]]}},
    "no-optimizer": {"optimizer": ...},
    "null-for-the-optimizer": {"optimizer": None},
    "optimizer-of-words": {"optimizer": {"scalars": {"one": {}}, "param_groups": []}},
    "no-frozen-units": {"frozen_units": ...},
    "endless-frozen-units": {"frozen_units": float("inf")},
    "no-history": {"history": ...},
    "words-for-the-history": {"history": "epochs"},
    "no-step": {"step": ...},
}


@pytest.mark.parametrize("odd", ODD_STATES.values(), ids=list(ODD_STATES))
def test_an_odd_checkpoint_is_passed_over_whoever_has_signed_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, odd: bytes | dict[str, Any]
) -> None:
    for epoch in (1, 2):
        save_checkpoint(tmp_path, checkpoint(epoch, network()), None)
    state = tmp_path / "state.json"
    if isinstance(odd, bytes):
        state.write_bytes(odd)
    else:
        body = read_own(state) | odd
        state.write_text(state_text({name: value for name, value in body.items() if value is not ...}))
    found = load_checkpoint(tmp_path, network())
    assert found is not None
    assert found[0].epoch == 1
    assert "the checkpoint is damaged" in caplog.text


def test_going_back_leaves_a_sound_checkpoint_behind_the_next_one(tmp_path: Path) -> None:
    for epoch in (1, 2):
        save_checkpoint(tmp_path, checkpoint(epoch, network()), None)
    for _ in range(2):  # the second time the one before is that which was gone back to
        damage_newest(tmp_path, "torn-json")
        found = load_checkpoint(tmp_path, network())
        assert found is not None
        assert found[0].epoch == 1
        save_checkpoint(tmp_path, checkpoint(2, network()), None)


@pytest.mark.parametrize("damage", ["no-best", "both"])
def test_where_no_checkpoint_is_sound_the_trial_begins_anew_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    so_far = save_checkpoint(tmp_path, checkpoint(1, network()), best(1))
    save_checkpoint(tmp_path, checkpoint(2, network()), so_far)
    oldest, *newer = sorted(tmp_path.glob("*.safetensors"))
    for file in [oldest] if damage == "no-best" else newer:
        file.unlink()
    if damage == "both":
        (tmp_path / "state-before.json").write_text("{")
    assert load_checkpoint(tmp_path, network()) is None
    assert "the checkpoint is damaged" in caplog.text
    assert "the trial begins anew" in caplog.text
