"""The plain program does the work that tune-cnn does."""

import timm
import torch

from benchmarks import plain_ray
from benchmarks.workloads import BACKBONES
from tune_cnn.models.units import units_of


def test_both_programs_freeze_the_same_parameters() -> None:
    for name in BACKBONES:
        with torch.device("meta"):
            plain, ours = timm.create_model(name, num_classes=7), timm.create_model(name, num_classes=0)
        pairs = list(zip(plain_ray.units_of(plain), [unit for _, unit in units_of(ours)], strict=False))
        assert len(pairs) == len(units_of(ours))
        for theirs, unit in pairs:
            assert [one.shape for one in theirs.parameters()] == [one.shape for one in unit.parameters()]


def test_frozen_batch_norm_of_the_plain_program_stands_still() -> None:
    model = timm.create_model("test_efficientnet", num_classes=3)
    frozen = plain_ray.units_of(model)[:4]
    plain_ray.train_mode(model, frozen)
    before = {name: value.clone() for name, value in model.named_buffers() if "running" in name}
    model(torch.randn(4, 3, 32, 32))
    after = {name: value for name, value in model.named_buffers() if "running" in name}
    moved = [torch.equal(before[name], after[name]) for name in before]
    assert moved[0]
    assert not moved[-1]
