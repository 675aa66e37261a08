"""Augmented views are the draws of their seeds, wherever and however often they are made."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.mask_sets import mask_set, section
from tests.data.pictures import class_folders, put
from tests.data.test_malformed_data import SECTION
from tune_cnn.data.augment import build_policy
from tune_cnn.data.augmented import KIND, Augmentation, AugmentedViews
from tune_cnn.data.cache import Cache
from tune_cnn.data.dataset import ImageData, SplitImages, open_data
from tune_cnn.data.folds import fold_data
from tune_cnn.sections.image import ImageConfig, Policy, Transform
from tune_cnn.seeds import seed_of

PX = 24
FLIP = Transform(transform="HorizontalFlip", arguments={"p": 0.5})
OTHER_FLIP = Transform(transform="HorizontalFlip", arguments={"p": 0.4})
Drawn = tuple[Any, Any]


def opened(root: Path, cache: Cache, **image: Any) -> ImageData:
    """Class folders, or images and masks where there are masks."""
    folders = {"kind": "folders", "root": str(root), "splits": {"train": "train", "val": "val"}}
    found = section(root) if (root / "masks").exists() else folders
    return open_data(SECTION.validate_python(found), ImageConfig(**{"px": PX} | image), cache=cache)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture(params=["classes", "masks"])
def split(request: pytest.FixtureRequest, tmp_path: Path, cache: Cache) -> SplitImages:
    make = mask_set if request.param == "masks" else class_folders
    return opened(make(tmp_path / "set"), cache).splits["train"]


def views_of(
    split: SplitImages, cache: Cache, policy: Policy = "strong", *, seed: int = 7, views: int | None = None
) -> AugmentedViews:
    augmenter = build_policy(policy, split.images.shape[1], masks=split.masks is not None)
    return AugmentedViews(split, Augmentation(split, augmenter, seed=seed, views=views, cache=cache))


def shown(views: AugmentedViews, number: int, order: list[int] | None = None) -> Drawn:
    """A view's images and masks (or labels), asked for in batches of two in some order, in the split's order."""
    images, targets = views.open(number)
    places = np.array(order or range(len(images)))
    batches = [(images[two], targets[two]) for two in np.array_split(places, np.arange(2, len(places), 2))]
    back = np.argsort(places)
    return np.concatenate([one for one, _ in batches])[back], np.concatenate([other for _, other in batches])[back]


def online(split: SplitImages, number: int, policy: Policy = "strong", seed: int = 7) -> Drawn:
    """Each image drawn by itself, with a policy of its own."""
    images, targets = [], []
    for place, path in enumerate(split.paths):
        augmenter = build_policy(policy, PX, masks=split.masks is not None)
        draw = seed_of("augment", seed, augmenter.policy_digest, number, path)
        image, target = augmenter.view(split.images[place], split.targets[place], draw)
        images.append(image)
        targets.append(target)
    return np.array(images), np.array(targets)


def assert_same(one: Drawn, other: Drawn) -> None:
    assert np.array_equal(one[0], other[0])
    assert np.array_equal(one[1], other[1])


def blocked(tmp_path: Path) -> Cache:
    return Cache(put(tmp_path / "a-file-not-a-folder", b""))


def test_a_view_is_what_drawing_each_image_online_gives(split: SplitImages, cache: Cache, tmp_path: Path) -> None:
    backwards = list(reversed(range(len(split.paths))))
    for number in (0, 3):
        expected = online(split, number)
        assert_same(shown(views_of(split, cache), number), expected)
        assert_same(shown(views_of(split, cache), number, backwards), expected)  # from the warm cache
        assert_same(shown(views_of(split, blocked(tmp_path)), number, backwards), expected)  # batch by batch
    assert not np.array_equal(online(split, 0)[0], online(split, 3)[0])


def test_a_view_is_drawn_once_and_when_it_is_looked_at(split: SplitImages, cache: Cache) -> None:
    images, _ = views_of(split, cache).open(0)
    assert not (cache.folder / KIND).exists()
    assert len(images[:1]) == 1
    [entry] = [path for path in (cache.folder / KIND).iterdir() if path.is_dir()]
    stamp = (entry / "images.npy").stat().st_mtime_ns
    shown(views_of(split, cache), 0)
    assert [path for path in (cache.folder / KIND).iterdir() if path.is_dir()] == [entry]
    assert (entry / "images.npy").stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ("policy", "views", "numbers"),
    [
        pytest.param("light", None, [0, 1, 2, 3, 4], id="a-new-one-every-epoch"),
        pytest.param("light", 2, [0, 1, 0, 1, 0], id="round-two"),
        pytest.param("light", 1, [0, 0, 0, 0, 0], id="the-same-ever"),
        pytest.param("none", None, [0, 0, 0, 0, 0], id="nothing-to-draw"),
        pytest.param((), 3, [0, 0, 0, 0, 0], id="an-empty-list"),
    ],
)
def test_epochs_go_round_the_views(
    tmp_path: Path, cache: Cache, policy: Policy, views: int | None, numbers: list[int]
) -> None:
    train = opened(class_folders(tmp_path / "set", images=1), cache).splits["train"]
    seen = views_of(train, cache, policy, views=views)
    assert [seen.number_of(epoch) for epoch in range(1, 6)] == numbers


def test_images_without_augmentation_are_given_as_they_are(split: SplitImages, cache: Cache) -> None:
    views = views_of(split, cache, "none")
    assert views.key(0) == split.images.key
    images, targets = views.open(0)
    assert images is split.images
    assert targets is split.targets
    assert not (cache.folder / KIND).exists()


def test_an_image_is_drawn_alike_in_all_folds_and_alone_and_all_folds_share_it(tmp_path: Path, cache: Cache) -> None:
    data = opened(class_folders(tmp_path / "set"), cache)
    pool = data.splits["train"].joined(data.splits["val"])
    augmentation = Augmentation(pool, build_policy("strong", PX), seed=7, views=None, cache=cache)
    drawn: dict[str, list[Any]] = {path: [] for path in pool.paths}
    folds = [fold.splits["train"] for fold in fold_data(data, 3, seed=0)]
    parts = [AugmentedViews(split, augmentation) for split in folds]
    for views in [*parts, views_of(data.splits["train"], blocked(tmp_path))]:
        for path, image in zip(views.split.paths, shown(views, 2)[0], strict=True):
            drawn[path].append(image)
    assert {len(images) for images in drawn.values()} == {2, 3}
    assert all(np.array_equal(image, images[0]) for images in drawn.values() for image in images)
    assert len(list((cache.folder / KIND).glob("*/entry.json"))) == 1
    assert len({views.key(2) for views in parts}) == 3, "each names its own rows"


def test_what_differs_never_shares_a_key(tmp_path: Path, cache: Cache) -> None:
    data = opened(class_folders(tmp_path / "set"), cache)
    train = data.splits["train"]
    other = opened(tmp_path / "set", cache, fit="stretch").splits["train"]
    masks = opened(mask_set(tmp_path / "masks"), cache).splits["train"]
    policies: list[Policy] = ["light", "strong", "aerial", (FLIP,), (OTHER_FLIP,), (FLIP, FLIP)]
    every = [
        *(views_of(train, cache, policy) for policy in policies),
        *(views_of(train, cache, seed=seed) for seed in (0, 1)),
        *(views_of(split, cache) for split in (data.splits["val"], other, masks, train.picked(train.labels == 0))),
        views_of(train, cache, "none"),
    ]
    keys = [views.key(number) for views in every for number in (0, 1)]
    assert len(set(keys)) == len(keys) - 1, "only the images as they are, are the same in both views"
    assert views_of(train, cache).key(1) == views_of(train, cache, views=2).key(1)


def test_where_the_cache_cannot_be_used_that_is_said_once(
    split: SplitImages, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    views = views_of(split, blocked(tmp_path))
    with caplog.at_level(logging.INFO):
        for number in range(3):
            shown(views, number)
    [record] = caplog.records
    assert record.getMessage().startswith(f"the cache in {tmp_path}/a-file-not-a-folder cannot be used (")
    assert record.getMessage().endswith("; images are augmented batch by batch")
