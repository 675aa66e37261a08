"""Images of one group stay together, whatever is drawn."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.malformed_data import HEADER, boxes, boxes_set
from tests.data.pictures import class_folders, jpeg, put, seed_of
from tests.data.test_dataset import open_folders
from tests.data.test_index import SOUND, index_of
from tune_cnn.data.audit import audit_groups
from tune_cnn.data.split import draw_folds, draw_splits
from tune_cnn.data.table import Paint, Row
from tune_cnn.errors import DataError

FRACTION = st.one_of(st.none(), st.floats(0.05, 0.45))
# Each group: how many images it has of each of two classes; never none at all.
GROUPS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)).filter(any), min_size=3, max_size=25)
SEED = st.integers(0, 1000)


def rows_of(groups: list[tuple[int, int]]) -> list[Row]:
    return [
        Row(f"v{number}/{label}-{image}.jpg", label, "train", f"v{number}")
        for number, sizes in enumerate(groups)
        for label, size in enumerate(sizes)
        for image in range(size)
    ]


def drawn_splits(rows: list[Row], *, val: float | None, test: float | None, seed: int = 0) -> dict[str, str]:
    images = [(row.path, str(row.label)) for row in rows]
    groups = {row.path: str(row.group) for row in rows}
    return dict(draw_splits(images, val=val, test=test, seed=seed, groups=groups))


def sides(rows: list[Row], side_of: dict[str, object]) -> Counter[str | None]:
    """On how many sides the images of each group stand."""
    return Counter(group for group, _ in {(row.group, side_of[row.path]) for row in rows})


@given(GROUPS, FRACTION, FRACTION, SEED)
def test_no_group_is_on_two_sides_of_a_draw(
    groups: list[tuple[int, int]], val: float | None, test: float | None, seed: int
) -> None:
    rows = rows_of(groups)
    drawn = drawn_splits(rows, val=val, test=test, seed=seed)
    assert set(drawn) == {row.path for row in rows}
    if val or test:
        assert set(sides(rows, dict(drawn)).values()) == {1}
        assert set(drawn.values()) == {"train"} | ({"val"} if val else set()) | ({"test"} if test else set())


@given(GROUPS, st.integers(2, 3), SEED)
def test_no_group_is_in_two_folds_and_every_image_in_one(groups: list[tuple[int, int]], folds: int, seed: int) -> None:
    rows = rows_of(groups)
    dealt = draw_folds(rows, folds, seed=seed)
    assert set(dealt) == set(range(folds))
    assert set(sides(rows, {row.path: fold for row, fold in zip(rows, dealt, strict=True)}).values()) == {1}
    assert draw_folds(rows, folds, seed=seed) == dealt


@settings(max_examples=30)
@given(st.lists(st.integers(1, 4), min_size=40, max_size=60), SEED)
def test_many_small_groups_fill_the_fractions_nearly_as_single_images_would(sizes: list[int], seed: int) -> None:
    rows = rows_of([(size, 0) if number % 3 else (0, size) for number, size in enumerate(sizes)])
    drawn = drawn_splits(rows, val=0.2, test=0.2, seed=seed)
    for label in (0, 1):
        own = [drawn[row.path] for row in rows if row.label == label]
        for split in ("val", "test"):
            assert abs(own.count(split) - 0.2 * len(own)) <= 4, "no further off than the largest group"


@given(st.lists(st.integers(1, 30), min_size=1, max_size=4), st.integers(2, 5), SEED)
def test_folds_of_single_images_are_stratified_to_within_one_image(sizes: list[int], folds: int, seed: int) -> None:
    rows = [Row(f"{label}/{n}.jpg", label, "train") for label, size in enumerate(sizes) for n in range(size)]
    if len(rows) < folds:
        return
    dealt = draw_folds(rows, folds, seed=seed)
    by_fold = Counter(dealt)
    assert max(by_fold.values()) - min(by_fold[fold] for fold in range(folds)) <= 1
    for label in range(len(sizes)):
        own = Counter(fold for row, fold in zip(rows, dealt, strict=True) if row.label == label)
        assert max(own.values()) - min(own[fold] for fold in range(folds)) <= 1


def test_another_seed_deals_other_folds_and_splits() -> None:
    rows = rows_of([(2, 1)] * 12)
    assert draw_folds(rows, 3, seed=0) != draw_folds(rows, 3, seed=1)
    assert drawn_splits(rows, val=0.3, test=None, seed=0) != drawn_splits(rows, val=0.3, test=None, seed=1)


def test_the_deal_of_a_seed_never_changes() -> None:
    """A run folder of years ago must still mean the same images: these tables are promises."""
    rows = rows_of([(3, 0), (0, 2), (1, 1), (4, 1), (0, 3), (2, 0)])
    drawn = drawn_splits(rows, val=0.25, test=0.25, seed=7)
    assert {row.group for row in rows if drawn[row.path] == "val"} == {"v0", "v4"}
    assert {row.group for row in rows if drawn[row.path] == "test"} == {"v2", "v5"}
    assert draw_folds([Row(f"{n}.jpg", n % 2, "train") for n in range(6)], 3, seed=7) == [0, 2, 1, 0, 2, 1]


def test_a_painted_image_goes_with_the_one_it_was_made_from() -> None:
    rows = [Row(f"{n}.jpg", 0, "train") for n in range(6)]
    paint = Paint("4.jpg", (10, 10), ((0, 0, 5, 5),), ())
    dealt = draw_folds([*rows, Row("4.jpg#without-fish", 1, "train", None, paint)], 3, seed=0)
    assert dealt[-1] == dealt[4]
    assert sorted(dealt[:-1]) == [0, 0, 1, 1, 2, 2], "it takes no place of its own"


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        pytest.param([Row("a.jpg", 0, "train"), Row("b.jpg", 0, "train")], "2 images", id="images"),
        pytest.param(rows_of([(5, 5), (5, 5)]), "2 groups", id="groups"),
    ],
)
def test_more_folds_than_there_is_to_deal_are_refused_with_a_number_that_works(rows: list[Row], what: str) -> None:
    with pytest.raises(DataError, match=f"folds: 3 folds of {what} leave some empty; write folds: 2 at most"):
        draw_folds(rows, 3, seed=0)
    assert set(draw_folds(rows, 2, seed=0)) == {0, 1}


# --- from a config


def videos(root: Path, *, images: int = 4) -> Path:
    """Two classes, six videos each, their frames beside each other."""
    for class_name in ("cat", "dog"):
        for video in range(6):
            for frame in range(images):
                name = f"{class_name}/{class_name}{video}_{frame}.jpg"
                put(root / name, jpeg(seed_of(name)))
    return root


@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param("([a-z]+[0-9])_", id="first-group"),
        pytest.param("(?<=/)[a-z]+[0-9]", id="whole-match"),
        pytest.param("^([^_]+)_", id="from-the-root"),
    ],
)
def test_a_pattern_on_the_path_names_the_group(pattern: str, tmp_path: Path) -> None:
    root = videos(tmp_path / "set")
    data = open_folders(root, tmp_path / "cache", val=0.17, test=0.17, group={"pattern": pattern})
    assert audit_groups(data.rows).facts == ("groups: 12",)
    assert audit_groups(data.rows).warnings == ()
    assert [len(data.splits[split].labels) for split in ("train", "val", "test")] == [32, 8, 8]
    assert data.warnings == ()


def test_groups_that_cannot_be_dealt_close_to_the_fraction_are_a_warning(tmp_path: Path) -> None:
    root = videos(tmp_path / "set")
    data = open_folders(root, tmp_path / "cache", val=0.05, group={"pattern": "[a-z]+[0-9]"})
    size = len(data.splits["val"].labels)
    assert size >= 4
    assert f"{root}: val has {size} images, not the 2 of val: 0.05: groups are kept whole" in data.warnings


def test_too_few_groups_for_the_splits_are_refused(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "set", parts=("",))
    with pytest.raises(DataError, match=r"2 groups cannot fill 3 splits \(train, val, test\)"):
        open_folders(root, tmp_path / "cache", val=0.2, test=0.2, group={"pattern": "cat|dog"})


def test_groups_across_named_splits_are_warned_about_with_counts() -> None:
    rows = [
        Row("train/1_0.jpg", 0, "train", "1"),
        Row("train/2_0.jpg", 0, "train", "2"),
        Row("val/1_1.jpg", 0, "val", "1"),
        Row("val/3_0.jpg", 0, "val", "3"),
    ]
    audit = audit_groups(rows)
    assert audit.warnings == (
        (
            "groups",
            "1 of 3 groups have images in several splits, such as '1' in train and val; "
            "only splits written as fractions keep groups whole",
        ),
    )
    [finding] = audit.findings
    assert (finding.path, finding.other_path) == ("train/1_0.jpg", "val/1_1.jpg")


WITH_VIDEOS = HEADER.replace("\n", ",Video\n")


def test_a_column_of_the_boxes_names_the_group(tmp_path: Path) -> None:
    rows = "a.jpg,100,80,cat,0,0,9,9,v1\nb.jpg,100,80,dog,0,0,9,9,v2\na.jpg,100,80,cat,9,9,20,20,v1\n"
    boxes_set(rows, header=WITH_VIDEOS)(tmp_path)
    put(tmp_path / "val" / "_annotations.csv", (WITH_VIDEOS + rows).encode())
    splits = {"train": "train", "val": "val", "group": {"column": "video"}}
    assert {row.path: row.group for row in index_of(boxes(tmp_path, splits=splits)).rows} == {
        "train/a.jpg": "v1", "train/b.jpg": "v2", "val/a.jpg": "v1", "val/b.jpg": "v2",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        pytest.param(SOUND.replace("\n", ",\n"), "_annotations.csv:2: the column of splits.group is empty", id="empty"),
        pytest.param(
            "a.jpg,100,80,cat,0,0,9,9,v1\na.jpg,100,80,cat,0,0,9,9,v2\nb.jpg,100,80,dog,0,0,9,9,v3\n",
            "_annotations.csv:3: 'a.jpg' is of the group 'v2', but of 'v1' in",
            id="two-groups-for-one-image",
        ),
    ],
)
def test_a_doubtful_column_of_groups_is_refused(rows: str, says: str, tmp_path: Path) -> None:
    boxes_set(rows, header=WITH_VIDEOS)(tmp_path)
    splits = {"val": 0.5, "train": "train", "group": {"column": "Video"}}
    with pytest.raises(DataError) as refused:
        index_of(boxes(tmp_path, splits=splits))
    assert says in str(refused.value)
