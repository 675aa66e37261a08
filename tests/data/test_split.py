from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_cnn.data.split import class_counts, draw_splits

FRACTION = st.one_of(st.none(), st.floats(0.01, 0.49))
CLASS_SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=5)
SEED = st.integers(0, 1000)


def images_of(sizes: list[int]) -> list[tuple[str, str]]:
    return [(f"c{c}/{n}.jpg", f"c{c}") for c, size in enumerate(sizes) for n in range(size)]


@given(CLASS_SIZES, FRACTION, FRACTION, SEED)
def test_every_image_is_drawn_into_exactly_one_asked_for_split(
    sizes: list[int], val: float | None, test: float | None, seed: int
) -> None:
    drawn = draw_splits(images_of(sizes), val=val, test=test, seed=seed)
    assert set(drawn) == {path for path, _ in images_of(sizes)}
    asked = {"train"} | ({"val"} if val else set()) | ({"test"} if test else set())
    assert set(drawn.values()) <= asked


@given(CLASS_SIZES, FRACTION, FRACTION, SEED)
def test_each_class_is_divided_within_one_image_of_its_fractions(
    sizes: list[int], val: float | None, test: float | None, seed: int
) -> None:
    images = images_of(sizes)
    drawn = draw_splits(images, val=val, test=test, seed=seed)
    counts: Counter[tuple[str, str]] = Counter((class_name, drawn[path]) for path, class_name in images)
    for number, size in enumerate(sizes):
        assert counts[f"c{number}", "train"] >= 1
        for split, fraction in (("val", val or 0.0), ("test", test or 0.0)):
            assert abs(counts[f"c{number}", split] - size * fraction) <= 1


@given(st.integers(3, 200), st.floats(0.001, 0.998), st.floats(0.001, 0.998))
def test_a_class_of_three_reaches_every_split_whatever_the_fractions(n: int, val: float, test: float) -> None:
    test = min(test, 0.999 - val)
    if test <= 0:
        return
    n_val, n_test = class_counts(n, val, test)
    assert min(n_val, n_test, n - n_val - n_test) >= 1


@given(CLASS_SIZES, SEED, st.randoms())
def test_the_draw_does_not_depend_on_the_order_of_listing(sizes: list[int], seed: int, random: Random) -> None:
    images = images_of(sizes)
    shuffled = list(images)
    random.shuffle(shuffled)
    assert draw_splits(images, val=0.2, test=0.1, seed=seed) == draw_splits(shuffled, val=0.2, test=0.1, seed=seed)


@given(CLASS_SIZES, SEED)
def test_one_more_image_moves_few_of_its_class_and_none_of_others(sizes: list[int], seed: int) -> None:
    before = draw_splits(images_of(sizes), val=0.2, test=0.1, seed=seed)
    after = draw_splits([*images_of(sizes), ("c0/new.jpg", "c0")], val=0.2, test=0.1, seed=seed)
    moved = [path for path, split in before.items() if after[path] != split]
    assert all(path.startswith("c0/") for path in moved)
    assert len(moved) <= 4


def test_another_seed_gives_another_draw() -> None:
    images = images_of([100])
    assert draw_splits(images, val=0.5, test=None, seed=0) != draw_splits(images, val=0.5, test=None, seed=1)


def test_the_draw_of_a_seed_never_changes() -> None:
    """A run folder of years ago must still mean the same images: this table is a promise."""
    drawn = draw_splits(images_of([10]), val=0.2, test=0.1, seed=7)
    assert [path for path, split in drawn.items() if split != "train"] == ["c0/5.jpg", "c0/9.jpg", "c0/7.jpg"]


@pytest.mark.parametrize(
    ("n", "val", "test", "expected"),
    [
        pytest.param(0, 0.2, 0.2, (0, 0), id="no-images"),
        pytest.param(1, 0.9, 0.0, (0, 0), id="the-only-image-stays-in-training"),
        pytest.param(2, 0.1, 0.0, (1, 0), id="two-images-are-enough-for-one-drawn-split"),
        pytest.param(2, 0.3, 0.3, (1, 0), id="two-images-are-too-few-for-two-drawn-splits"),
        pytest.param(3, 0.05, 0.05, (1, 1), id="three-images-reach-all-three"),
        pytest.param(4, 0.45, 0.45, (2, 1), id="training-keeps-one"),
        pytest.param(10, 0.25, 0.0, (3, 0), id="half-an-image-is-rounded-up"),
        pytest.param(100, 0.1, 0.2, (10, 20), id="large-classes-are-exact"),
    ],
)
def test_small_classes_keep_their_promises(n: int, val: float, test: float, expected: tuple[int, int]) -> None:
    assert class_counts(n, val, test) == expected
