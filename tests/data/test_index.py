import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tests.data.malformed_data import HEADER, boxes, boxes_set, lists_set
from tests.data.pictures import class_folders, jpeg, put
from tests.real_data import shared
from tune_cnn.data.dominant import dominant_class
from tune_cnn.data.index import ImageIndex, Row, Skipped, read_index
from tune_cnn.errors import DataError
from tune_cnn.sections.data import Data

SECTION: TypeAdapter[Data] = TypeAdapter(Data)


def index_of(section: dict[str, object]) -> ImageIndex:
    return read_index(SECTION.validate_python(section))


def folders_of(root: Path, **splits: object) -> ImageIndex:
    return index_of({"kind": "folders", "root": str(root), "splits": splits})


def labels_of(index: ImageIndex) -> dict[str, str]:
    return {row.path: index.classes[row.label] for row in index.rows}


def test_the_index_needs_neither_torch_nor_pillow() -> None:
    code = (
        "import sys, tune_cnn.data.index, tune_cnn.data.split; "
        "print([n for n in ('torch', 'PIL', 'numpy', 'albumentations') if n in sys.modules])"
    )
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "[]"


def test_class_folders_become_rows_ordered_by_path_and_classes_by_name(tmp_path: Path) -> None:
    index = folders_of(class_folders(tmp_path, images=1), train="train", val="val")
    assert index.classes == ("cat", "dog")
    assert index.rows == (
        Row("train/cat/0.jpg", 0, "train"),
        Row("train/dog/0.jpg", 1, "train"),
        Row("val/cat/0.jpg", 0, "val"),
        Row("val/dog/0.jpg", 1, "val"),
    )
    assert (index.root, index.skipped, index.warnings) == (tmp_path, (), ())


def test_what_systems_leave_in_folders_is_ignored_without_a_word(tmp_path: Path) -> None:
    class_folders(tmp_path)
    clean = folders_of(tmp_path, train="train", val="val")
    for litter in (
        "train/Thumbs.db", "train/cat/Thumbs.db", "train/cat/desktop.ini", "train/cat/._0.jpg", "train/cat/.DS_Store",
        "train/__MACOSX/cat/0.jpg", "train/.ipynb_checkpoints/0.jpg", "train/cat/.ipynb_checkpoints/0-checkpoint.jpg",
    ):  # fmt: skip
        put(tmp_path / litter, jpeg(1))
    assert folders_of(tmp_path, train="train", val="val") == clean


def test_images_in_folders_of_a_class_folder_are_of_that_class(tmp_path: Path) -> None:
    put(class_folders(tmp_path) / "train/cat/2019/may/tom.JPEG", jpeg(1))
    assert labels_of(folders_of(tmp_path, train="train", val="val"))["train/cat/2019/may/tom.JPEG"] == "cat"


@pytest.mark.parametrize("name", ["Bildschirm um 3.45\u202fPM.png", "猫 (1).jpg", "<b>&=1+1.jpg", 'it\'s, "so".jpg'])
def test_unusual_names_are_fine(tmp_path: Path, name: str) -> None:
    put(class_folders(tmp_path) / "train/cat" / name, jpeg(1))
    assert f"train/cat/{name}" in labels_of(folders_of(tmp_path, train="train", val="val"))


def test_oddities_of_class_folders_are_warned_about(tmp_path: Path) -> None:
    class_folders(tmp_path)
    put(tmp_path / "train/cat/notes.txt", b"x")
    put(tmp_path / "train/dog/table.xlsx", b"x")
    put(tmp_path / "train/loose.jpg", jpeg(1))
    (tmp_path / "train/cow").mkdir()
    index = folders_of(tmp_path, train="train", val="val")
    assert index.classes == ("cat", "dog")
    assert [warning.removeprefix(str(tmp_path)) for warning in index.warnings] == [
        "/train: 1 images outside any class folder were left out",
        "/train/cow: a class folder without images",
        ": 2 files without the suffix of an image were left out, such as train/cat/notes.txt",
    ]


@pytest.mark.parametrize(
    "splits",
    [
        pytest.param({"val": 0.2}, id="everything-from-the-root"),
        pytest.param({"train": ".", "val": 0.2}, id="the-root-by-name"),
    ],
)
def test_class_folders_may_lie_directly_in_the_root(tmp_path: Path, splits: dict[str, object]) -> None:
    index = folders_of(class_folders(tmp_path, parts=("",)), **splits)
    assert index.classes == ("cat", "dog")
    assert {row.split for row in index.rows} == {"train"}, "fractions are drawn later"


def test_a_split_folder_beside_class_folders_is_no_class(tmp_path: Path) -> None:
    index = folders_of(class_folders(tmp_path, parts=("", "held/out")), val=0.2, test="held/out")
    assert index.classes == ("cat", "dog")
    assert sum(row.split == "test" for row in index.rows) == 6


def test_a_link_within_the_root_is_followed_and_a_circle_is_not(tmp_path: Path) -> None:
    class_folders(tmp_path)
    (tmp_path / "train/cow").symlink_to(tmp_path / "train/cat")
    (tmp_path / "train/cat/again").symlink_to(tmp_path / "train")
    index = folders_of(tmp_path, train="train", val="val")
    assert labels_of(index)["train/cow/0.jpg"] == "cow"
    assert len(index.rows) < 60


def test_a_data_folder_may_itself_be_a_link(tmp_path: Path) -> None:
    class_folders(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert len(folders_of(tmp_path / "link", train="train", val="val").rows) == 12


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        pytest.param([], None, id="no-box"),
        pytest.param([("cat", 0.0)], None, id="no-area"),
        pytest.param([("cat", 10), ("dog", 9)], "cat", id="the-larger-area"),
        pytest.param([("cat", 10), ("dog", 4), ("dog", 4)], "dog", id="number-counts-as-well"),
        pytest.param([("cat", 10), ("dog", 2), ("dog", 2)], "cat", id="but-not-alone"),
        pytest.param([("dog", 8), ("cat", 2), ("cat", 2)], "dog", id="a-tie-goes-to-the-larger-area"),
        pytest.param([("dog", 8), ("cat", 8)], "cat", id="a-full-tie-goes-to-the-name"),
        pytest.param([("cat", 9), ("dog", 4), ("dog", 4), ("dog", 0)], "dog", id="boxes-without-area-do-not-count"),
    ],
)
def test_the_dominant_class_has_the_largest_area_times_number(
    boxes: list[tuple[str, float]], expected: str | None
) -> None:
    assert dominant_class(boxes) == expected


SOUND = "a.jpg,100,80,cat,0,0,50,50\nb.jpg,100,80,dog,0,0,50,50\n"


@pytest.mark.parametrize(
    ("rows", "header"),
    [
        pytest.param(SOUND, HEADER, id="plain"),
        pytest.param(SOUND.replace(",", ";"), HEADER.replace(",", ";"), id="semicolons"),
        pytest.param(SOUND.replace(",", "\t"), HEADER.replace(",", "\t"), id="tabs"),
        pytest.param(SOUND.replace("\n", "\r\n"), HEADER.replace("\n", "\r\n"), id="crlf"),
        pytest.param(SOUND, "\ufeff" + HEADER, id="byte-order-mark"),
        pytest.param(SOUND.replace("a.jpg", '"a.jpg"'), HEADER.replace("class", '"class"'), id="quotes"),
        pytest.param(SOUND.replace(",cat,", ", cat ,"), HEADER.replace(",", " , ").upper(), id="spaces-and-capitals"),
        pytest.param(SOUND.replace("80", "80.0") + "\n,,,,,,,\n", HEADER, id="decimals-and-blank-rows"),
        pytest.param(
            "x,a.jpg,100,80,cat,0,0,9,9\nx,b.jpg,100,80,dog,0,0,9,9\n", "note," + HEADER, id="columns-of-no-interest"
        ),
        pytest.param(SOUND + SOUND, HEADER, id="every-box-twice"),
    ],
)
def test_tables_are_read_as_people_s_programs_write_them(tmp_path: Path, rows: str, header: str) -> None:
    index = index_of(boxes_set(rows, header=header)(tmp_path))
    assert labels_of(index) == {"train/a.jpg": "cat", "train/b.jpg": "dog", "val/a.jpg": "cat", "val/b.jpg": "dog"}
    assert index.warnings == ()


@pytest.mark.parametrize(
    "corners",
    [
        pytest.param("-400,0,5,5", id="left"),
        pytest.param("0,-400,5,5", id="above"),
        pytest.param("95,0,900,5", id="right"),
        pytest.param("0,75,5,900", id="below"),
    ],
)
def test_boxes_are_clipped_to_the_image_before_they_are_weighed(tmp_path: Path, corners: str) -> None:
    rows = f"a.jpg,100,80,dog,{corners}\na.jpg,100,80,cat,20,20,30,30\nb.jpg,100,80,dog,0,0,9,9\n"
    assert labels_of(index_of(boxes_set(rows)(tmp_path)))["train/a.jpg"] == "cat"


def test_an_image_without_a_usable_box_is_skipped_and_counted(tmp_path: Path) -> None:
    section = boxes_set(SOUND + "c.jpg,100,80,cat,200,0,300,50\n")(tmp_path)
    for name in ("c.jpg", "d.jpg"):
        put(tmp_path / "train" / name, jpeg(9))
    index = index_of(section)
    assert index.skipped == (Skipped("train/c.jpg", "train", "no box"), Skipped("train/d.jpg", "train", "no box"))
    assert [warning.partition("_annotations.csv:")[2] for warning in index.warnings] == [
        "4: 1 boxes without area within their image were left out"
    ]


def test_a_table_in_the_root_serves_a_draw_and_leaves_other_splits_alone(tmp_path: Path) -> None:
    boxes_set(SOUND)(tmp_path)
    for name in ("a", "b"):
        put(tmp_path / f"{name}.jpg", jpeg(3, (100, 80)))
    put(tmp_path / "_annotations.csv", (HEADER + SOUND).encode())
    index = index_of(boxes(tmp_path, splits={"val": 0.5, "test": "val"}))
    assert [(row.path, row.split) for row in index.rows if "/" not in row.path or row.path.startswith("val/")] == [
        ("a.jpg", "train"), ("b.jpg", "train"), ("val/a.jpg", "test"), ("val/b.jpg", "test"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "train",
    [
        pytest.param("a.jpg cat\nb.jpg dog\n", id="space"),
        pytest.param("a.jpg\tcat\nb.jpg\tdog\n", id="tab"),
        pytest.param("a.jpg,cat\nb.jpg, dog\n", id="comma"),
        pytest.param("\ufeffa.jpg cat\r\n\r\n  b.jpg   dog  \r\n", id="mark-crlf-and-blank-lines"),
        pytest.param('"a.jpg",cat\n"b.jpg","dog"\n', id="quotes"),
        pytest.param("./a.jpg cat\nb.jpg dog", id="dot-slash-and-no-last-line-end"),
    ],
)
def test_lists_are_read_as_people_write_them(tmp_path: Path, train: str) -> None:
    index = index_of(lists_set(train)(tmp_path))
    assert labels_of(index) == {"a.jpg": "cat", "b.jpg": "dog", "e.jpg": "cat", "f.jpg": "dog"}
    assert index.warnings == ()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        pytest.param("two words.jpg", "two words.jpg cat", id="spaces-in-the-name"),
        pytest.param("one, two.jpg", "one, two.jpg\tcat", id="comma-in-the-name-before-a-tab"),
        pytest.param("one, two.jpg", "one, two.jpg cat", id="comma-and-spaces-in-the-name"),
        pytest.param("two words.jpg", "two words.jpg,cat", id="spaces-in-the-name-before-a-comma"),
        pytest.param("it's.jpg", "it's.jpg cat", id="quote-in-the-name"),
        pytest.param("# 1.jpg", "# 1.jpg cat", id="a-hash-begins-no-comment"),
        pytest.param("x.jpg", "x.jpg\tcat", id="plain-name"),
    ],
)
def test_names_of_listed_images_may_hold_separators(tmp_path: Path, name: str, line: str) -> None:
    put(tmp_path / name, jpeg(77))
    assert labels_of(index_of(lists_set(f"{line}\nb.jpg dog\n")(tmp_path)))[name] == "cat"


def test_numbers_are_named_by_the_classes_file_in_the_order_of_the_ids(tmp_path: Path) -> None:
    section = lists_set("a.jpg 10\nb.jpg 2\n", val="e.jpg 10\nf.jpg 02\n", classes="10 Bald Eagle\n2 Auk\n3 Coot\n")(
        tmp_path
    )
    index = index_of(section)
    assert index.classes == ("Auk", "Bald Eagle")
    assert labels_of(index)["a.jpg"] == "Bald Eagle"
    assert index.warnings == (f"{tmp_path}: classes without images were left out: Coot",)


def test_numbers_without_a_classes_file_are_ordered_as_numbers(tmp_path: Path) -> None:
    assert index_of(lists_set("a.jpg 10\nb.jpg 9\n", val="e.jpg 10\nf.jpg 09\n")(tmp_path)).classes == ("9", "10")


def test_an_image_listed_twice_alike_is_kept_once_with_a_warning(tmp_path: Path) -> None:
    index = index_of(lists_set("a.jpg cat\nb.jpg dog\n./a.jpg cat\n")(tmp_path))
    assert len(index.rows) == 4
    assert index.warnings == (f"{tmp_path}/train.txt:3: 1 images listed twice were kept once",)


CSV_PIECE = st.sampled_from(
    ["a.jpg", "b.jpg", "100", "80", "cat", "dog", ",", ";", "\t", '"', "\n", "\r", "-1", "nan", "1e999", " ", "é"]
)
LIST_PIECE = st.sampled_from(
    ["a.jpg", "b.jpg", "0", "1", "cat", ",", "\t", " ", "\n", "..", "/", "\\", '"', "\u2028", "\x0c", "9" * 5000]
)


@settings(max_examples=150, deadline=None)
@given(
    csv=st.lists(CSV_PIECE, max_size=40),
    names=st.lists(LIST_PIECE, max_size=30),
    classes=st.lists(LIST_PIECE, max_size=12),
)
def test_whatever_stands_in_tables_and_lists_is_read_or_refused_line_by_line(
    tmp_path_factory: pytest.TempPathFactory, csv: list[str], names: list[str], classes: list[str]
) -> None:
    root = tmp_path_factory.mktemp("set")
    for section in (
        boxes_set(SOUND + "".join(csv))(root),
        lists_set("a.jpg 0\nb.jpg 1\n" + "".join(names), val="e.jpg 0\n", classes="0 cat\n1 dog\n" + "".join(classes))(
            root
        ),
    ):
        refused: tuple[str, ...] = ()
        try:
            index_of(section)
        except DataError as error:
            refused = error.faults
        assert all(fault.startswith(str(root)) and len(fault.splitlines()) == 1 for fault in refused), refused


# --- real data


def test_the_real_aquarium_has_637_labelled_images_and_one_without_a_box() -> None:
    root = shared("data", "aquarium")
    index = index_of(boxes(root, splits={"train": "train", "val": "valid", "test": "test"}))
    counts = {split: sum(row.split == split for row in index.rows) for split in ("train", "val", "test")}
    assert counts == {"train": 447, "val": 127, "test": 63}
    assert index.classes == ("fish", "jellyfish", "penguin", "puffin", "shark", "starfish", "stingray")
    assert [(one.split, one.reason) for one in index.skipped] == [("train", "no box")]
    assert index.warnings == ()


def test_the_real_birds_are_named_by_their_classes_file() -> None:
    splits = {"train": "train.txt", "val": 0.1, "test": "test.txt"}
    index = index_of({"kind": "lists", "root": str(shared("data", "cub")), "splits": splits, "classes": "classes.txt"})
    assert len(index.classes) == 20
    assert index.classes[0] == "American_Goldfinch"
    assert all(index.classes[row.label] in row.path for row in index.rows)
    assert sum(row.split == "train" for row in index.rows) == 240
