"""Masks move with their images."""

import numpy as np
import pytest

from tune_cnn.data.augment import build_policy
from tune_cnn.sections.data import IGNORED_ID
from tune_cnn.sections.image import Policy, Transform

PX = 64


def marked(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """An image that shows its own mask: class 1 is bright, class 0 dark."""
    mask = np.zeros((PX, PX), np.uint8)
    top, left = np.random.default_rng(seed).integers(8, 24, 2)
    mask[top : top + 28, left : left + 20] = 1
    return np.repeat((60 + 120 * mask)[..., None], 3, axis=2).astype(np.uint8), mask


def one(name: str, **arguments: object) -> Policy:
    return (Transform(transform=name, arguments=arguments),)


@pytest.mark.parametrize("policy", ["light", "strong", "aerial"])
def test_the_named_policies_move_image_and_mask_together(policy: Policy) -> None:
    augmenter = build_policy(policy, PX, masks=True)
    moved = 0
    for seed in range(12):
        image, mask = marked(seed)
        seen, truth = augmenter.view(image, mask, seed)
        assert (seen.shape, truth.shape, truth.dtype) == ((PX, PX, 3), (PX, PX), np.dtype(np.uint8))
        assert set(np.unique(truth)) <= {0, 1, IGNORED_ID}
        bright, dark = seen[truth == 1].mean(), seen[truth == 0].mean()
        assert bright > dark + 40, "what the mask calls class 1 is what is bright"
        moved += not np.array_equal(truth, mask)
    assert moved > 6


def test_an_image_alone_is_drawn_as_it_is_beside_a_mask() -> None:
    augmenter = build_policy("aerial", PX, masks=True)
    image, mask = marked()
    assert np.array_equal(augmenter(image, 5), augmenter.view(image, mask, 5)[0])


def test_a_class_id_passes_through() -> None:
    image, _ = marked()
    assert build_policy("light", PX).view(image, 3, 1)[1] == 3


@pytest.mark.parametrize(
    ("policy", "corner"),
    [
        pytest.param(one("Affine", translate_px=20, p=1.0), IGNORED_ID, id="nothing-said-does-not-count"),
        pytest.param(one("Affine", translate_px=20, fill_mask=1, p=1.0), 1, id="as-the-transform-says"),
        pytest.param(one("Affine", translate_px=20, border_mode=1, p=1.0), 0, id="replicated"),
    ],
)
def test_what_comes_in_from_beyond_the_border_is_what_the_transform_says(policy: Policy, corner: int) -> None:
    image, mask = marked()
    _, truth = build_policy(policy, PX, masks=True).view(image, mask, 0)
    assert truth[0, 0] == corner


def test_holes_in_the_image_leave_the_mask_as_it_is() -> None:
    image, mask = marked()
    augmenter = build_policy(one("CoarseDropout", p=1.0), PX, masks=True)
    seen, truth = augmenter.view(image, mask, 0)
    assert np.array_equal(truth, mask)
    assert not np.array_equal(seen, image)


def test_the_aerial_policy_is_that_of_the_flood_study() -> None:
    turn, crop, flip = build_policy("aerial", 224, masks=True).describe()
    assert (turn["transform"], turn["arguments"]["limit"], turn["arguments"]["p"]) == ("Rotate", [-360.0, 360.0], 0.9)
    assert turn["arguments"]["border_mode"] == 1  # replicated
    assert crop["arguments"]["min_max_height"] == [168, 224]
    assert (flip["transform"], flip["arguments"]["p"]) == ("HorizontalFlip", 0.5)


def test_a_size_that_a_transform_changes_is_made_good_for_both() -> None:
    image, mask = marked()
    seen, truth = build_policy(one("CenterCrop", height=20, width=30), PX, masks=True).view(image, mask, 0)
    assert (seen.shape, truth.shape) == ((PX, PX, 3), (PX, PX))
    assert set(np.unique(truth)) <= {0, 1}
