"""What is kept of networks between trials changes no trial."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tune_cnn.models import resident as memory
from tune_cnn.models.classifier import build_classifier, create_backbone
from tune_cnn.models.resident import resident
from tune_cnn.sections.model import ModelConfig


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    memory._kept.clear()
    yield
    memory._kept.clear()


def built(seed: int = 0, width: int = 2) -> nn.Linear:
    torch.manual_seed(seed)
    made = resident(("linear", width), lambda: nn.Linear(width, 3))
    assert isinstance(made, nn.Linear)
    return made


def test_a_copy_is_what_building_gives_and_so_is_what_is_drawn_after_it() -> None:
    first, drawn = built(), torch.rand(2)
    with torch.no_grad():
        first.weight.add_(1)  # a trial trains
    second, drawn_again = built(), torch.rand(2)
    torch.manual_seed(0)
    fresh = nn.Linear(2, 3)
    assert torch.equal(second.weight, fresh.weight)
    assert torch.equal(drawn, drawn_again)
    assert torch.equal(drawn, torch.rand(2))


def test_another_seed_gives_another_network() -> None:
    assert not torch.equal(built(seed=0).weight, built(seed=1).weight)


def test_what_was_used_last_stays_and_no_more_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST_BYTES", 4 * (2 * 3 + 3) + 4 * (4 * 3 + 3))
    for width in (2, 4, 2, 3):
        built(width=width)
    assert [about for about, _ in memory._kept] == [("linear", 2), ("linear", 3)]
    built(width=400)
    assert not memory._kept


def test_weights_that_change_on_disk_are_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    config = ModelConfig.model_validate({"backbone": "resnet10t", "weights": "imagenet", "weights_file": str(file)})
    state = create_backbone("resnet10t").state_dict()
    for value in (0.25, 0.25, 0.5):
        save_file(state | {"conv1.0.weight": torch.full_like(state["conv1.0.weight"], value)}, file)
        torch.manual_seed(0)
        model = build_classifier(config, 2, px=32, keep=True)
        assert float(model.backbone.state_dict()["conv1.0.weight"].mean()) == value
