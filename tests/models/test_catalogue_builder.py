import csv
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tune_cnn.models.catalogue import TABLE, facts
from tune_cnn.models.catalogue_builder import LeftOutError, build, main, row_for, trace
from tune_cnn.models.freeze import UnitLine


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_large_100", "densenet121"])
def test_the_shipped_table_is_what_the_builder_makes(name: str) -> None:
    with TABLE.open(encoding="utf-8") as file:
        shipped = {row["name"]: row for row in csv.DictReader(file)}
    assert row_for(name) == shipped[name]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param("vit_tiny_patch16_224", "not purely convolutional: Attention", id="transformer"),
        pytest.param("hrnet_w18_small", "units that do not run: transition1", id="parallel-branches"),
        pytest.param("mambaout_femto", r"no \(B, C, H, W\) map", id="channels-last"),
        pytest.param("halonet26t", "not purely convolutional: HaloAttn", id="hybrid"),
        pytest.param("no_such_net", "timm cannot build or run it so", id="unknown"),
    ],
)
def test_what_is_no_line_of_convolutions_is_left_out_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(LeftOutError, match=reason):
        row_for(name)


class Network(nn.Module):
    """Runs its two convolutions in the order it is given."""

    def __init__(self, *order: str) -> None:
        super().__init__()
        self.order = order
        self.one = nn.Conv2d(3, 3, 2, stride=2)
        self.two = nn.Conv2d(3, 3, 2, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        for name in self.order:
            x = self.get_submodule(name)(x)
        return torch.flatten(self.pool(x), 1)


def test_a_network_is_traced_unit_by_unit() -> None:
    line, outputs = trace(Network("one", "two"), 32)
    assert line == UnitLine((1, 1, 0), (2, 4, 4))
    assert [output.shape[1:] for output in outputs] == [(3, 16, 16), (3, 8, 8), (3, 1, 1), (3,)]


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        pytest.param(("one",), "units that do not run: two", id="not-run"),
        pytest.param(("one", "two", "one"), "units that run several times: one", id="run-twice"),
        pytest.param(("two", "one"), "units do not run in order: two", id="another-order"),
    ],
)
def test_units_out_of_line_are_found(order: tuple[str, ...], reason: str) -> None:
    with pytest.raises(LeftOutError, match=reason):
        trace(Network(*order), 32)


def test_one_network_that_fails_does_not_end_the_building() -> None:
    said: list[str] = []
    rows, left_out = build(["no_such_net", "resnet18"], said.append)
    assert [row["name"] for row in rows] == ["resnet18"]
    assert list(left_out) == ["no_such_net"]
    assert said == ["2 of 2: 1 in, 1 left out"]


def test_the_table_is_written_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--out", str(tmp_path / "few.csv"), "resnet18", "vit_tiny_patch16_224"])
    lines = (tmp_path / "few.csv").read_text().splitlines()
    assert lines[0].startswith("name,parameters,features")
    assert lines[1].startswith(f"resnet18,{facts('resnet18').parameters},512,224,")
    assert "left out: vit_tiny_patch16_224: not purely" in capsys.readouterr().out
