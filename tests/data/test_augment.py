import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.data.pictures import noise
from tune_cnn.data.augment import build_policy, check_policy
from tune_cnn.data.decode import Pixels
from tune_cnn.errors import SpaceFileError
from tune_cnn.sections.image import Policy, Transform

PX = 48
IMAGE = np.asarray(noise(1, (PX, PX)))
SEEDS = range(20)


def one(name: str, **arguments: object) -> Transform:
    return Transform(transform=name, arguments=arguments)


OWN: tuple[Transform, ...] = (
    one("RandomRotate90", p=0.5),
    one("GaussNoise", std_range=[0.05, 0.2], p=0.8),
    one("ElasticTransform", alpha=20, p=0.5),
    one("GridDropout", p=0.3),
    one("ISONoise", p=0.5),
)
POLICIES: list[Policy] = ["none", "light", "strong", OWN]
NAMES = ["none", "light", "strong", "own"]


@pytest.mark.parametrize("policy", POLICIES, ids=NAMES)
def test_a_view_depends_on_its_seed_alone(policy: Policy) -> None:
    forwards = build_policy(policy, PX)
    first = [np.array(forwards(IMAGE, seed)) for seed in SEEDS]
    backwards = build_policy(policy, PX)
    for seed in reversed(SEEDS):
        assert np.array_equal(backwards(IMAGE, seed), first[seed])
        assert np.array_equal(forwards(IMAGE, seed), first[seed])


@pytest.mark.parametrize("policy", POLICIES, ids=NAMES)
def test_a_view_has_the_shape_of_the_image_and_leaves_it_alone(policy: Policy) -> None:
    frozen = np.array(IMAGE)
    frozen.flags.writeable = False  # as in a memory map
    augmenter = build_policy(policy, PX)
    for seed in SEEDS:
        view = augmenter(frozen, seed)
        assert view.shape == IMAGE.shape
        assert view.dtype == np.uint8
    assert np.array_equal(frozen, IMAGE)


@pytest.mark.parametrize("policy", ["light", "strong"])
def test_other_seeds_give_other_views(policy: Policy) -> None:
    augmenter = build_policy(policy, PX)
    assert len({augmenter(IMAGE, seed).tobytes() for seed in SEEDS}) >= 15


def test_the_policy_none_changes_nothing() -> None:
    assert build_policy("none", PX)(IMAGE, 3) is IMAGE


def test_transforms_draw_independently_of_each_other() -> None:
    """Given one seed each, as albumentations does, two transforms of p = 0.5 would always be applied together."""
    augmenter = build_policy((one("HorizontalFlip", p=0.5), one("VerticalFlip", p=0.5)), PX)
    kinds: list[Pixels] = [IMAGE, IMAGE[:, ::-1], IMAGE[::-1], IMAGE[::-1, ::-1]]
    seen = [
        next(k for k, kind in enumerate(kinds) if np.array_equal(augmenter(IMAGE, seed), kind)) for seed in range(60)
    ]
    assert set(seen) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    "transform",
    [
        pytest.param(one("RandomCrop", height=20, width=30), id="smaller"),
        pytest.param(one("PadIfNeeded", min_height=70, min_width=60), id="larger"),
        pytest.param(one("RandomScale", p=1.0), id="of-random-size"),
    ],
)
def test_transforms_that_change_the_size_are_brought_back_to_it(transform: Transform) -> None:
    augmenter = build_policy((transform,), PX)
    assert {augmenter(IMAGE, seed).shape for seed in SEEDS} == {(PX, PX, 3)}


def test_a_crop_may_follow_an_enlargement() -> None:
    policy = (one("Resize", height=64, width=64), one("RandomCrop", height=56, width=56))
    assert check_policy(policy, PX) == []
    assert build_policy(policy, PX)(IMAGE, 0).shape == (PX, PX, 3)


@pytest.mark.parametrize("policy", POLICIES, ids=NAMES)
def test_what_a_policy_says_of_itself_is_plain_data(policy: Policy) -> None:
    said = build_policy(policy, PX).describe()
    assert json.loads(json.dumps(said)) == said
    assert len(said) == {"none": 0, "light": 3, "strong": 5}.get(str(policy), len(OWN))


def test_effective_arguments_are_read_back_with_their_defaults() -> None:
    [said] = build_policy((one("RandomBrightnessContrast", brightness_limit=0.3),), PX).describe()
    assert said["transform"] == "RandomBrightnessContrast"
    assert said["arguments"]["brightness_limit"] == [-0.3, 0.3]
    assert said["arguments"]["contrast_limit"] == [-0.2, 0.2]
    assert said["arguments"]["p"] == 0.5


FAULTY: dict[str, tuple[Transform, list[str]]] = {
    "unknown-name": (
        one("HorizontalFlp"),
        ["transform: albumentations has no transform 'HorizontalFlp'; did you mean 'HorizontalFlip'"],
    ),
    "unknown-argument": (
        one("Affine", rotat=3),
        ["arguments.rotat: unknown argument of Affine; did you mean 'rotate'?"],
    ),
    "unknown-argument-of-a-plain-transform": (
        one("RandomRotate90", angle=3),
        ["arguments.angle: unknown argument of RandomRotate90; it has p"],
    ),
    "two-bad-values": (
        one("Affine", rotate="x", p=3),
        ["arguments.p: Affine: Input should be less than or equal to 1; 3 was written", "arguments.rotate: Affine: "],
    ),
    "argument-left-out": (one("RandomResizedCrop"), ["arguments.size: RandomResizedCrop: Field required"]),
    "no-argument-of-two": (one("CropAndPad"), ["arguments: CropAndPad: Value error, Both px and percent"]),
    "crop-larger-than-the-image": (
        one("RandomCrop", height=100, width=100),
        ["arguments: RandomCrop refuses them: Crop size"],
    ),
    "not-rgb-any-more": (
        one("ToGray", num_output_channels=1),
        ["arguments: with these, ToGray gives no RGB image of 8 bits"],
    ),
    "preprocessing": (one("Normalize"), ["transform: Normalize changes the kind of pixels"]),
    "needs-boxes": (one("BBoxSafeRandomCrop"), ["transform: BBoxSafeRandomCrop needs boxes, masks or other images"]),
    "needs-other-images": (
        one("HistogramMatching"),
        ["transform: HistogramMatching needs boxes, masks or other images"],
    ),
    "volumes": (one("RandomCrop3D", size=[1, 2, 3]), ["transform: RandomCrop3D is for volumes"]),
    "code": (one("Lambda"), ["transform: Lambda takes code"]),
    "composition": (one("OneOf", transforms=[]), ["transform: OneOf is no single transform"]),
    "no-transform-at-all": (one("np"), ["transform: albumentations has no transform 'np'"]),
    "a-base-class": (one("ImageOnlyTransform"), ["transform: ImageOnlyTransform is no single transform"]),
}


@pytest.mark.parametrize(("transform", "says"), FAULTY.values(), ids=FAULTY.keys())
def test_a_faulty_transform_is_named_with_its_place(transform: Transform, says: list[str]) -> None:
    faults = check_policy((one("HorizontalFlip"), transform), PX)
    assert len(faults) == len(says)
    for fault, piece in zip(faults, says, strict=True):
        assert fault.startswith(f"augment.1.{piece}"), fault
        assert "\n" not in fault
    with pytest.raises(SpaceFileError) as refused:
        build_policy((one("HorizontalFlip"), transform), PX)
    assert list(refused.value.faults) == faults


def test_all_faults_of_a_policy_come_at_once() -> None:
    faults = check_policy((one("Afine"), one("HorizontalFlip"), one("Affine", rotat=1, scal=2)), PX)
    assert [fault.split(":")[0] for fault in faults] == [
        "augment.0.transform", "augment.2.arguments.rotat", "augment.2.arguments.scal",
    ]  # fmt: skip


def test_the_named_policies_are_sound_at_every_size() -> None:
    named: tuple[Policy, ...] = ("light", "strong")
    for px in (16, 33, 224):
        image = np.asarray(noise(2, (px, px)))
        for policy in named:
            assert build_policy(policy, px)(image, 1).shape == image.shape


def test_the_config_does_not_import_albumentations() -> None:
    code = "import sys, tune_cnn.config, tune_cnn.data.dataset; print('albumentations' in sys.modules)"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "False"


def test_albumentations_has_no_other_door() -> None:
    package = Path(__file__).parents[2] / "tune_cnn"
    doors = [path.name for path in package.rglob("*.py") if "import albumentations" in path.read_text("utf-8")]
    assert doors == ["augment.py"]
