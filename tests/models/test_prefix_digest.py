import pytest
import torch
from torch import nn

from tests.training.networks import images, tiny
from tune_cnn.models.network import Network
from tune_cnn.models.prefix_digest import prefix_digests, structure_digest


def network(activation: nn.Module | None = None) -> Network:
    torch.manual_seed(0)  # of the layers that are made here too
    return tiny(nn.BatchNorm2d(6), activation or nn.ReLU(), nn.Conv2d(6, 6, 1))


def test_the_same_content_has_the_same_digests_whatever_trains() -> None:
    one, other = network(), network()
    one.freeze_to(4)
    assert prefix_digests(one, 4) == prefix_digests(other, 4)
    assert len(set(prefix_digests(one, 4))) == 5
    assert prefix_digests(one, 2) == prefix_digests(other, 4)[:3]


def nudge(model: Network) -> None:
    with torch.no_grad():
        model.unit_modules()[3].get_parameter("bias")[5] += 1e-6


def train(model: Network) -> None:
    model.train()(images(4))


@pytest.mark.parametrize(
    ("change", "first_unit"),
    [pytest.param(nudge, 4, id="a-weight"), pytest.param(train, 2, id="running-statistics")],
)
def test_a_change_is_seen_from_the_unit_on_in_which_it_is(change: object, first_unit: int) -> None:
    assert callable(change)
    model = network()
    before = prefix_digests(model, 4)
    change(model)
    after = prefix_digests(model, 4)
    assert [old == new for old, new in zip(before, after, strict=True)] == [units < first_unit for units in range(5)]


def test_networks_that_differ_by_what_has_no_weights_differ() -> None:
    relu, elu = network(), network(nn.ELU())
    assert prefix_digests(relu, 2) == prefix_digests(elu, 2)
    assert prefix_digests(relu, 3)[3] != prefix_digests(elu, 3)[3]
    assert structure_digest(relu) != structure_digest(elu)


def test_the_structure_does_not_depend_on_the_weights() -> None:
    one, other = network(), network()
    nudge(other)
    assert structure_digest(one) == structure_digest(other)
