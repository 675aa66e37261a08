"""Features of a view: as the live prefix gives them, kept once, found by whoever can use them, and never by others."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.training.networks import tiny
from tune_cnn.data.cache import Cache
from tune_cnn.models.classifier import Classifier
from tune_cnn.models.cut import InexactCutError
from tune_cnn.models.network import single
from tune_cnn.models.prefix_digest import prefix_digests
from tune_cnn.models.tail import Cut, cut_network
from tune_cnn.training.batches import Batches
from tune_cnn.training.features import BATCH, KIND, Form, Forms, Prefix, Setting
from tune_cnn.training.precision import Precision
from tune_cnn.training.rows import brought

CPU = torch.device("cpu")
PX = 8


def network() -> Classifier:
    model = tiny(nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3, stride=2), nn.ReLU())
    model.freeze_to(5)
    return model


def view(count: int = BATCH + 5, key: str = "a view") -> Batches:
    pixels = np.random.default_rng(0).integers(0, 256, (count, PX, PX, 3), np.uint8)
    labels = np.zeros(count, np.int64)
    normal = ((0.4,) * 3, (0.2,) * 3)
    return Batches.of(pixels, labels, batch_size=4, preprocessing=normal, device=CPU, key=key)


def prefix_of(model: Classifier, cache: Cache, **setting: object) -> Prefix:
    usual = {"backbone": "tiny", "px": PX, "device": CPU, **setting}
    return Prefix(model, Setting(**usual), prefix_digests(model, 5), cache)  # type: ignore[arg-type]


def forms_of(cut: Cut, shown: Batches) -> Forms:
    return tuple(Form.of(one) for one in cut.activation(shown.sample(2)))


def entries(cache: Cache) -> set[str]:
    return {path.parent.name for path in (cache.folder / KIND).glob("*/entry.json")}


@pytest.mark.parametrize("count", [1, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH + 3])
@pytest.mark.parametrize("units", [1, 4, 5])
def test_features_are_what_the_live_prefix_gives_in_the_same_order_in_memory(
    count: int, units: int, tmp_path: Path
) -> None:
    model, shown = network(), view(count)
    cut = cut_network(model, units, shown.sample(2))
    prefix = prefix_of(model, Cache(tmp_path))
    rows = prefix.features(shown, cut, forms_of(cut, shown), {})
    places = np.random.default_rng(1).permutation(count)
    kept = single(rows.fetch(places))
    (live,) = cut.activation(single(shown.source.fetch(places)))
    assert torch.allclose(kept, live, rtol=1e-6, atol=1e-7)
    assert kept.stride() == live.stride() or count == 1


def test_features_are_computed_once(tmp_path: Path) -> None:
    model, shown = network(), view()
    cut = cut_network(model, 4, shown.sample(2))
    prefix, forms = prefix_of(model, Cache(tmp_path)), forms_of(cut, shown)
    ran: list[int] = []
    model.unit_modules()[0].register_forward_hook(lambda _module, _inputs, output: ran.append(len(output)))
    for _ in range(2):
        prefix.features(shown, cut, forms, {})
    assert [count for count in ran if count == BATCH] == [BATCH, BATCH], "the last batch is filled up"


def test_deeper_features_begin_with_shallower_ones(tmp_path: Path) -> None:
    model, shown = network(), view()
    prefix = prefix_of(model, Cache(tmp_path))
    cuts = {units: cut_network(model, units, shown.sample(2)) for units in (1, 4, 5)}
    forms = {units: forms_of(cut, shown) for units, cut in cuts.items()}
    prefix.features(shown, cuts[1], forms[1], forms)
    prefix.features(shown, cuts[4], forms[4], forms)
    ran: list[tuple[int, int]] = []
    for place, unit in enumerate(model.unit_modules()):
        unit.register_forward_hook(lambda _module, _inputs, output, place=place: ran.append((place, len(output))))
    rows = prefix.features(shown, cuts[5], forms[5], forms)
    assert {place for place, count in ran if count == BATCH} == {4}, "the last unit alone"
    fresh = prefix_of(model, Cache(tmp_path / "other")).features(shown, cuts[5], forms[5], {})
    places = np.arange(len(shown.labels))
    assert torch.equal(single(rows.fetch(places)), single(fresh.fetch(places)))


def nudged() -> Classifier:
    model = network()
    with torch.no_grad():
        model.unit_modules()[1].get_buffer("running_mean")[0] += 1e-3
    return model


def behind_the_cut() -> Classifier:
    model = network()
    with torch.no_grad():
        model.unit_modules()[3].get_parameter("bias")[0] += 1
        model.head.get_parameter("2.bias")[0] += 1
    return model


@pytest.mark.parametrize(
    ("model", "key", "setting", "shared"),
    [
        pytest.param(network(), "a view", {}, True, id="built-again-alike"),
        pytest.param(behind_the_cut(), "a view", {}, True, id="other-weights-behind-the-cut"),
        pytest.param(nudged(), "a view", {}, False, id="another-running-mean"),
        pytest.param(network(), "another view", {}, False, id="another-view"),
        pytest.param(network(), "a view", {"backbone": "other"}, False, id="another-backbone"),
        pytest.param(network(), "a view", {"precision": Precision("bfloat16")}, False, id="another-precision"),
    ],
)
def test_features_are_shared_by_those_with_the_same_content_alone(
    model: Classifier, key: str, setting: dict[str, object], shared: bool, tmp_path: Path
) -> None:
    cache = Cache(tmp_path)
    for one, name, differs in ((network(), "a view", {}), (model, key, setting)):
        shown = view(key=name)
        cut, prefix = cut_network(one, 3, shown.sample(2)), prefix_of(one, cache, **differs)
        with prefix.setting.computing():
            forms = forms_of(cut, shown)
        prefix.features(shown, cut, forms, {})
    assert len(entries(cache)) == (1 if shared else 2)


def test_processors_that_add_up_otherwise_share_no_features() -> None:
    named = f"cpu {torch.backends.cpu.get_cpu_capability()}"
    assert named in Setting("tiny", PX, CPU).parts()


def test_half_precision_is_kept_as_it_is(tmp_path: Path) -> None:
    model, shown = network(), view()
    prefix = prefix_of(model, Cache(tmp_path), precision=Precision("bfloat16"))
    cut = cut_network(model, 1, shown.sample(2))
    with prefix.setting.computing():
        forms = forms_of(cut, shown)
        (live,) = cut.activation(shown.sample(BATCH))
    kept = single(prefix.features(shown, cut, forms, {}).fetch(np.arange(BATCH)))
    assert kept.dtype == torch.bfloat16
    assert torch.equal(kept, live)


def test_a_cut_that_is_not_exact_with_these_weights_leaves_nothing(tmp_path: Path) -> None:
    model, shown = network(), view()
    cache = Cache(tmp_path)
    cut = cut_network(model, 4, shown.sample(2))
    forms = forms_of(cut, shown)
    other = network()
    with torch.no_grad():
        other.head.get_parameter("2.bias")[0] += 1
    wrong = Cut(model, 4, cut_network(other, 4, shown.sample(2)).tail, (0,))
    with pytest.raises(InexactCutError):
        prefix_of(model, cache).features(shown, wrong, forms, {})
    assert entries(cache) == set()


@pytest.mark.parametrize(
    "tensor",
    [
        pytest.param(torch.randn(3, 5), id="vectors"),
        pytest.param(torch.randn(3, 4, 2, 2), id="maps"),
        pytest.param(torch.randn(3, 4, 2, 2).contiguous(memory_format=torch.channels_last), id="channels-last"),
        pytest.param(torch.randn(3, 4, 2, 2, dtype=torch.bfloat16), id="bfloat16"),
        pytest.param(torch.randn(3, 5).half(), id="float16"),
        pytest.param(torch.randn(3, 4, 1, 1), id="maps-of-one-pixel"),
        pytest.param(torch.randn(3, 1, 1, 4).permute(0, 3, 1, 2), id="maps-of-one-pixel-channels-last"),
    ],
)
def test_a_form_keeps_values_type_and_order_in_memory(tensor: Tensor) -> None:
    form = Form.of(tensor)
    assert Form.from_json(form.as_json()) == form
    back = form.tensor(brought(form.rows(tensor), CPU))
    assert torch.equal(back, tensor)
    assert (back.dtype, back.stride()) == (tensor.dtype, tensor.stride())
    assert form.spec(3).size_bytes == 3 * form.size_bytes == tensor.numel() * tensor.element_size()
