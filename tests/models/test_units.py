import torch
from torch import Tensor, nn

from tune_cnn.models.units import batch_norms, hold_still, units_of, weight_layers


class Twice(nn.Sequential):
    """A subclass that does not run its children in a row."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self[0](x) * 2)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.stages = nn.Sequential(
            nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)), nn.Dropout(0.1), Twice(nn.Conv2d(4, 4, 1), nn.ReLU())
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Identity()


def test_sequential_containers_are_opened_and_what_does_nothing_is_no_unit() -> None:
    assert [name for name, _ in units_of(Network())] == ["stem", "stages.0.0", "stages.0.1", "stages.2", "pool"]


def test_a_weight_layer_holds_parameters_itself() -> None:
    block = nn.Module()
    block.scale = nn.Parameter(torch.ones(1))
    block.conv, block.act = nn.Conv2d(1, 1, 1), nn.ReLU()
    assert weight_layers(block) == 2
    assert weight_layers(nn.Sequential(nn.Sequential(nn.Linear(1, 1)))) == 1
    assert weight_layers(nn.ReLU()) == 0


def test_holding_still_sleeps_the_prefix_and_wakes_the_rest() -> None:
    units = [nn.BatchNorm2d(2), nn.BatchNorm2d(2), nn.BatchNorm2d(2)]
    hold_still(units, 3)
    hold_still(units, 1)
    assert [unit.weight.requires_grad for unit in units] == [False, True, True]
    assert not units[0].training


def test_a_batch_norm_without_running_statistics_has_none_to_keep() -> None:
    assert len(batch_norms(nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm1d(2, track_running_stats=False)))) == 1
