import pytest
import torch
from torch import Tensor, nn

from tests.models.conftest import WriteWeights
from tune_cnn.errors import SpaceFileError, TrialError
from tune_cnn.models.build import build_network
from tune_cnn.models.classifier import Classifier, create_backbone
from tune_cnn.models.encoders import encoder_line, encoder_stride
from tune_cnn.models.encoders_builder import encoder_line_of
from tune_cnn.models.freeze import frozen_units
from tune_cnn.models.segmenter import _DECODERS, Segmenter, build_segmenter, segmenter_faults
from tune_cnn.models.trunk import model_faults, trunk_of
from tune_cnn.models.units import batch_norms, units_of, weight_layers
from tune_cnn.sections.model import Freeze, ModelConfig

DECODERS = tuple(_DECODERS)
SMALL = "mobilenetv3_small_050"
ENCODERS = (SMALL, "resnet18", "tf_efficientnet_lite0", "vgg11", "convnext_atto", "regnety_004")


def config(backbone: str = "resnet18", **values: object) -> ModelConfig:
    return ModelConfig.model_validate({"backbone": backbone, "weights": "none", "decoder": "unet", **values})


def build(backbone: str = "resnet18", seed: int = 0, **values: object) -> Segmenter:
    torch.manual_seed(seed)
    return build_segmenter(config(backbone, **values), 3)


def train_step(model: Segmenter, px: int = 32) -> None:
    optimizer = torch.optim.SGD([one for one in model.parameters() if one.requires_grad], lr=0.05, weight_decay=0.01)
    model.train()
    target = torch.randint(0, 3, (2, px, px), generator=torch.Generator().manual_seed(1))
    nn.functional.cross_entropy(model(torch.randn(2, 3, px, px)), target).backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def state(modules: list[nn.Module]) -> list[dict[str, Tensor]]:
    return [{name: value.clone() for name, value in module.state_dict().items()} for module in modules]


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_gives_a_logit_per_class_and_pixel(decoder: str) -> None:
    with torch.device("meta"), torch.no_grad():
        model = build(decoder=decoder, head={"dropout": 0.25}).eval()
        assert model(torch.zeros(2, 3, 128, 160)).shape == (2, 3, 128, 160)
    assert model.live_settings() == {"model.decoder": decoder, "model.head.dropout": 0.25}


@pytest.mark.parametrize(
    ("backbone", "depth"),
    [(SMALL, 0.0), (SMALL, 0.5), (SMALL, 1.0), ("resnet18", 0.5), ("tf_efficientnet_lite0", 0.5)],
)
def test_frozen_units_stand_still_to_the_bit_and_the_others_move(backbone: str, depth: float) -> None:
    model = build(backbone, freeze={"depth": depth})
    frozen = frozen_units(Freeze(depth=depth), trunk_of(config(backbone)).line, backbone)
    units = [unit for _, unit in units_of(model.trunk)]
    assert model.frozen_units == frozen
    before = state(units), state([model.decoder, model.segmentation_head])
    train_step(model)
    after = state(units), state([model.decoder, model.segmentation_head])
    moved = [not equal(one, other) for one, other in zip(before[0], after[0], strict=True) if one]
    weighted = [bool(one) for one in before[0]]
    assert moved == [index >= frozen for index, has in enumerate(weighted) if has]
    assert not any(equal(one, other) for one, other in zip(before[1], after[1], strict=True))
    assert model.batch_norm_modes().still == sum(len(batch_norms(unit)) for unit in units[:frozen])


@pytest.mark.parametrize("backbone", ENCODERS)
def test_the_table_of_encoders_says_what_is_built(backbone: str) -> None:
    line = encoder_line_of(backbone)
    assert line == encoder_line(backbone)
    assert encoder_stride(backbone) == 32


@pytest.mark.parametrize("backbone", [SMALL, "resnet18"])
def test_the_encoder_gets_the_weights_that_the_file_holds(backbone: str, write_weights: WriteWeights) -> None:
    file = write_weights(backbone, f"{backbone}.safetensors", dtype=torch.float16)
    model = build_segmenter(config(backbone, weights="imagenet", weights_file=str(file)), 2)
    source = [unit for _, unit in units_of(create_backbone(backbone, file)) if weight_layers(unit)]
    kept = [unit for _, unit in units_of(model.trunk) if weight_layers(unit)]
    assert len(kept) > 5
    assert all(equal(unit.state_dict(), other.state_dict()) for unit, other in zip(kept, source, strict=False))


def test_an_encoder_gives_the_features_of_its_backbone() -> None:
    torch.manual_seed(0)
    backbone = create_backbone("resnet18").eval()
    model = build("resnet18")
    for (_, unit), (_, source) in zip(units_of(model.trunk), units_of(backbone), strict=False):
        unit.load_state_dict(source.state_dict())
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        features = backbone.forward_features(images)  # type: ignore[operator]
        assert torch.equal(model.eval().encoder(images)[-1], features)


def test_a_decoder_of_fine_features_drops_the_units_behind_them() -> None:
    line = trunk_of(config("tf_efficientnet_lite0", decoder="pspnet")).line
    assert max(line.strides) == 8
    assert (
        len(build("tf_efficientnet_lite0", decoder="pspnet").units)
        == len(line)
        < len(encoder_line("tf_efficientnet_lite0"))
    )


def test_dropout_takes_whole_channels_in_training_only() -> None:
    model = build(SMALL, head={"dropout": 0.5})
    features: list[Tensor] = []
    model.channel_dropout.register_forward_hook(lambda _module, _inputs, output: features.append(output))
    images = torch.randn(2, 3, 32, 32)
    model.train()(images)
    model.eval()(images)
    gone = [float((one.flatten(2).abs().sum(dim=2) == 0).float().mean()) for one in features]
    assert gone[0] > 0.2 > gone[1] == 0


@pytest.mark.parametrize("decoder", ["deeplabv3", "deeplabv3plus", "pan", "upernet"])
def test_a_single_image_cannot_train_a_decoder_that_compares_images(decoder: str) -> None:
    with torch.device("meta"):
        model = build(decoder=decoder)
        with pytest.raises(TrialError, match=r"write training\.batch_size: 2 or more, or another decoder such as unet"):
            model.train()(torch.zeros(1, 3, 128, 128))


@pytest.mark.parametrize("decoder", ["unet", "unetplusplus", "fpn", "manet", "linknet", "pspnet"])
def test_the_other_decoders_train_on_a_single_image(decoder: str) -> None:
    with torch.device("meta"):
        model = build(decoder=decoder)
        assert model.least_batch == 1
        model.train()(torch.zeros(1, 3, 64, 64))


def test_a_pair_that_does_not_go_together_is_told_before_anything_runs() -> None:
    (fault,) = segmenter_faults("vgg11", "deeplabv3", 64)
    assert "the decoder deeplabv3 cannot work on vgg11 at 64 px" in fault
    assert "write another decoder, such as unet" in fault
    assert segmenter_faults("vgg11", "unet", 64) == []
    assert "cannot work on resnet18 at 64 px" in segmenter_faults("resnet18", "pan", 64)[0]


def test_a_backbone_that_is_no_encoder_is_told() -> None:
    (fault,) = model_faults(config("convmixer_768_32"))
    assert fault.startswith("convmixer_768_32 cannot be the encoder of a segmentation network")
    with pytest.raises(SpaceFileError, match="cannot be the encoder"):
        build("convmixer_768_32")
    assert model_faults(config("convmixer_768_32", decoder=None)) == []


def test_freeze_depth_beyond_the_encoder_is_told() -> None:
    (fault,) = model_faults(config("resnet18", freeze={"last_units": 13}))
    assert fault.startswith("13 units to train, but resnet18 has only 12")


def test_smp_s_and_torchvision_s_names_are_taken() -> None:
    assert trunk_of(config("mobilenet_v2")).line == trunk_of(config("mobilenetv2_100")).line


def test_without_a_decoder_a_classifier_is_built() -> None:
    assert isinstance(build_network(config(decoder=None), 2, px=32), Classifier)
    assert isinstance(build_network(config(), 2, px=32), Segmenter)
