"""Data sets that cannot be used as they are, each with a piece of what the user must read. Used through every door."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.data.pictures import class_folders, encoded, jpeg, noise, put

Section = dict[str, Any]
SPLITS = {"train": "train", "val": "val", "test": "test"}
HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax\n"


@dataclass(frozen=True)
class MalformedData:
    """`build` writes the data set below a path and returns the `data` section; `says` is part of the message."""

    id: str
    build: Callable[[Path], Section]
    says: str


def folders(root: Path, **changes: Any) -> Section:
    return {"kind": "folders", "root": str(root), "splits": SPLITS} | changes


def boxes(root: Path, **changes: Any) -> Section:
    return {"kind": "boxes_csv", "root": str(root), "splits": {"train": "train", "val": "val"}} | changes


def lists(root: Path, **changes: Any) -> Section:
    return {"kind": "lists", "root": str(root), "splits": {"train": "train.txt", "val": "val.txt"}} | changes


def folder_set(change: Callable[[Path], object], **section: Any) -> Callable[[Path], Section]:
    """A sound set of class folders, and then one thing done to it."""

    def build(root: Path) -> Section:
        change(class_folders(root))
        return folders(root, **section)

    return build


def boxes_set(
    train_rows: str, *, header: str = HEADER, encoding: str = "utf-8", **section: Any
) -> Callable[[Path], Section]:
    """A sound validation part, and a training part with images a.jpg and b.jpg and the given rows."""

    def build(root: Path) -> Section:
        for part in ("train", "val"):
            for number, name in enumerate(("a.jpg", "b.jpg")):
                put(root / part / name, jpeg(number + len(part), (100, 80)))
        sound = "a.jpg,100,80,cat,0,0,50,50\nb.jpg,100,80,dog,0,0,50,50\n"
        put(root / "val" / "_annotations.csv", (HEADER + sound).encode())
        put(root / "train" / "_annotations.csv", (header + train_rows).encode(encoding))
        return boxes(root, **section)

    return build


def lists_set(
    train: str, *, val: str = "e.jpg cat\nf.jpg dog\n", classes: str | None = None, **section: Any
) -> Callable[[Path], Section]:
    """Images a.jpg to f.jpg, and lists of the given text."""

    def build(root: Path) -> Section:
        for number, letter in enumerate("abcdef"):
            put(root / f"{letter}.jpg", jpeg(number))
        put(root / "train.txt", train.encode())
        put(root / "val.txt", val.encode())
        if classes is None:
            return lists(root, **section)
        put(root / "classes.txt", classes.encode())
        return lists(root, classes="classes.txt", **section)

    return build


def remove(*names: str) -> Callable[[Path], None]:
    """Delete images; a folder `x/` loses all of its own."""

    def change(root: Path) -> None:
        for name in names:
            for path in (root / name).glob("*.jpg") if name.endswith("/") else [root / name]:
                path.unlink()

    return change


def unchanged(root: Path) -> None:
    """What is wrong stands in the section."""


def link_outside(root: Path) -> None:
    outside = put(root.parent / f"{root.name}-outside.jpg", jpeg(1))
    (root / "train" / "cat" / "link.jpg").symlink_to(outside)


def listed_link_outside(root: Path) -> Section:
    section = lists_set("a.jpg cat\nlink.jpg dog\n")(root)
    (root / "link.jpg").symlink_to(put(root.parent / f"{root.name}-outside.jpg", jpeg(1)))
    return section


def only_loose_images(root: Path) -> Section:
    for part in SPLITS:
        put(root / part / "1.jpg", jpeg(1))
    return folders(root)


def missing_root(root: Path) -> Section:
    return folders(root / "nowhere")


def root_is_a_file(root: Path) -> Section:
    return folders(put(root / "data.zip", b"PK"))


def classes_are_splits(root: Path) -> Section:
    return folders(class_folders(root, parts=("train", "valid")), splits={"val": 0.2})


def cut_short(root: Path) -> object:
    return put(root / "val" / "cat" / "0.jpg", encoded(noise(1, (200, 200)), "JPEG")[:3000])


def two_bad_files(root: Path) -> None:
    put(root / "train" / "cat" / "0.jpg", b"")
    put(root / "train" / "dog" / "0.jpg", b"<!DOCTYPE html><html>404</html>")


def png_of(image_mode: str) -> bytes:
    return encoded(noise(1).convert("L").convert(image_mode), "TIFF")


SOUND_LINES = "a.jpg cat\nb.jpg dog\n"
SOUND_ROWS = "a.jpg,100,80,cat,0,0,50,50\nb.jpg,100,80,dog,0,0,50,50\n"

MALFORMED = (
    # --- any layout
    MalformedData("root-is-missing", missing_root, "data.root is not there"),
    MalformedData("root-is-a-file", root_is_a_file, "data.root is a file, not a folder"),
    # --- folders
    MalformedData(
        "split-folder-misnamed",
        folder_set(unchanged, splits={"train": "train", "val": "vall"}),
        "splits.val: no folder 'vall'; did you mean 'val'?",
    ),
    MalformedData(
        "split-folder-of-a-quite-other-name",
        folder_set(unchanged, splits={"train": "train", "val": "x"}),
        "the folders there are: 'test', 'train', 'val'",
    ),
    MalformedData(
        "split-folder-leaves-the-root",
        folder_set(unchanged, splits={"train": "train", "val": "../other"}),
        "splits.val: the path '../other' leaves its folder by '..'",
    ),
    MalformedData(
        "split-folder-is-absolute",
        folder_set(unchanged, splits={"train": "train", "val": "/tmp"}),  # noqa: S108 - it is refused
        "splits.val: the path '/tmp' is absolute",
    ),
    MalformedData(
        "two-splits-in-one-folder",
        folder_set(unchanged, splits={"train": "train", "val": "val", "test": "val"}),
        "splits.val and splits.test are the same folder",
    ),
    MalformedData("images-without-class-folders", only_loose_images, "1 images lie directly in it, such as '1.jpg'"),
    MalformedData("splits-taken-for-classes", classes_are_splits, "look like splits, not classes; write splits.train"),
    MalformedData(
        "validation-folder-is-empty",
        folder_set(remove("val/cat/", "val/dog/")),
        "val has no images; write another splits.val",
    ),
    MalformedData("test-folder-is-empty", folder_set(remove("test/cat/", "test/dog/")), "test has no images"),
    MalformedData("training-folder-is-empty", folder_set(remove("train/cat/", "train/dog/")), "train has no images"),
    MalformedData(
        "class-that-training-lacks",
        folder_set(lambda root: put(root / "val" / "zebra" / "1.jpg", jpeg(1))),
        "val holds 1 images of class 'zebra', which train lacks",
    ),
    MalformedData(
        "class-whose-training-images-are-gone",
        folder_set(remove("train/cat/")),
        "test holds 3 images of class 'cat', which",
    ),
    MalformedData("one-class-only", folder_set(remove("train/cat/", "val/cat/", "test/cat/")), "only one class, 'dog'"),
    MalformedData(
        "image-links-out-of-the-root", folder_set(link_outside), "'train/cat/link.jpg' is a symbolic link out of"
    ),
    MalformedData(
        "name-with-a-line-break",
        folder_set(lambda root: put(root / "train" / "cat" / "a\nb.jpg", jpeg(1))),
        r"'train/cat/a\nb.jpg' holds control characters",
    ),
    MalformedData(
        "pattern-that-fits-nothing",
        folder_set(unchanged, splits={"train": "train", "val": 0.2, "group": {"pattern": "video[0-9]+"}}),
        "splits.group.pattern: not one of 6 images fits 'video[0-9]+', such as 'train/cat/0.jpg'; write a pattern that",
    ),
    MalformedData(
        "pattern-that-does-not-fit-all",
        folder_set(unchanged, splits={"train": "train", "val": 0.2, "group": {"pattern": "cat/([0-9])"}}),
        "splits.group.pattern: 3 of 6 images do not fit 'cat/([0-9])', such as 'train/dog/0.jpg'",
    ),
    MalformedData(
        "pattern-whose-group-takes-no-part",
        folder_set(unchanged, splits={"train": "train", "val": 0.2, "group": {"pattern": "cat(/)|dog/"}}),
        "3 of 6 images do not fit",
    ),
    MalformedData(
        "one-group-for-two-splits",
        folder_set(unchanged, splits={"train": "train", "val": 0.2, "group": {"pattern": "train"}}),
        "splits.group: 1 groups cannot fill 2 splits (train, val); write another pattern or column",
    ),
    MalformedData(
        "too-few-images-for-the-fraction",
        lambda root: folders(class_folders(root, parts=("train",), images=1), splits={"train": "train", "val": 0.2}),
        "val has no images; write another splits.val, or a larger fraction",
    ),
    # --- files that are no usable images
    MalformedData("truncated-jpeg", folder_set(cut_short), "val/cat/0.jpg: damaged or truncated JPEG"),
    MalformedData(
        "empty-file", folder_set(two_bad_files), "train/cat/0.jpg: empty file; replace it, or write data.on_bad: skip"
    ),
    MalformedData("web-page-for-an-image", folder_set(two_bad_files), "train/dog/0.jpg: a web page or SVG"),
    MalformedData(
        "text-for-an-image",
        folder_set(lambda root: put(root / "test" / "dog" / "2.jpg", b"hello")),
        "not one of JPEG, PNG",
    ),
    MalformedData(
        "heic-for-an-image",
        folder_set(lambda root: put(root / "test" / "dog" / "2.jpg", b"\0\0\0\x18ftypheic" + bytes(40))),
        "HEIC, AVIF or a video",
    ),
    MalformedData(
        "floating-point-pixels",
        folder_set(lambda root: put(root / "train" / "dog" / "f.tif", png_of("F"))),
        "floating-point pixels have no agreed range",
    ),
    MalformedData(
        "only-image-of-a-split-is-bad",
        lambda root: folders(
            _with(class_folders(root), lambda: [put(p, b"") for p in (root / "val").rglob("*.jpg")]), on_bad="skip"
        ),
        "val has no images",
    ),
    # --- boxes_csv
    MalformedData(
        "boxes-without-a-table", lambda root: boxes(class_folders(root)), "data.annotations: no file '_annotations.csv'"
    ),
    MalformedData(
        "table-misnamed",
        boxes_set(SOUND_ROWS, annotations="_annotation.csv"),
        "no file '_annotation.csv'; did you mean '_annotations.csv'?",
    ),
    MalformedData(
        "column-missing",
        boxes_set("a.jpg,100,80,cat,0,0,50\n", header="filename,width,height,label,xmin,ymin,xmax\n"),
        "_annotations.csv:1: columns missing: class, ymax; found 'filename', 'width'",
    ),
    MalformedData("table-is-empty", boxes_set("", header=""), "_annotations.csv: empty"),
    MalformedData(
        "number-is-text",
        boxes_set(SOUND_ROWS + "a.jpg,100,80,cat,0,zero,5,5\n"),
        "_annotations.csv:4: ymin is 'zero'; write",
    ),
    MalformedData(
        "number-is-nan", boxes_set(SOUND_ROWS + "a.jpg,100,80,cat,nan,0,5,5\n"), "_annotations.csv:4: xmin is 'nan'"
    ),
    MalformedData(
        "size-is-zero",
        boxes_set("a.jpg,0,80,cat,0,0,5,5\n" + SOUND_ROWS),
        "_annotations.csv:2: width is 0; write the image's",
    ),
    MalformedData(
        "box-turned-round",
        boxes_set(SOUND_ROWS + "a.jpg,100,80,cat,50,0,5,5\n"),
        "_annotations.csv:4: xmin 50 is above xmax 5",
    ),
    MalformedData(
        "class-is-blank", boxes_set(SOUND_ROWS + "a.jpg,100,80, ,0,0,5,5\n"), "_annotations.csv:4: class is empty"
    ),
    MalformedData(
        "row-names-a-missing-image",
        boxes_set(SOUND_ROWS + "c.jpg,100,80,cat,0,0,5,5\n"),
        "_annotations.csv:4: no such image: 'c.jpg'",
    ),
    MalformedData(
        "row-leaves-the-folder",
        boxes_set(SOUND_ROWS + "../val/a.jpg,100,80,cat,0,0,5,5\n"),
        "_annotations.csv:4: the path '../val/a.jpg' leaves its folder by '..'",
    ),
    MalformedData(
        "rows-disagree-on-the-size",
        boxes_set(SOUND_ROWS + "a.jpg,99,80,cat,0,0,5,5\n"),
        "_annotations.csv:4: 'a.jpg' is 99 x 80 pixels, but 100 x 80 in",
    ),
    MalformedData(
        "row-too-short",
        boxes_set(SOUND_ROWS + "a.jpg,100,80,cat\n"),
        "_annotations.csv:4: 4 fields, but the header names 8",
    ),
    MalformedData(
        "quote-never-closed", boxes_set(SOUND_ROWS + '"a.jpg,100,80,cat,0,0,5,5\n'), "check the quotes from here on"
    ),
    MalformedData(
        "table-in-latin-1",
        boxes_set(SOUND_ROWS + "a.jpg,100,80,\xe9cureuil,0,0,5,5\n", encoding="latin-1"),
        "_annotations.csv:4: byte 0xe9 is no UTF-8",
    ),
    MalformedData(
        "table-in-utf-16", boxes_set(SOUND_ROWS, encoding="utf-16"), "_annotations.csv: is UTF-16; save it as UTF-8"
    ),
    MalformedData(
        "no-box-has-an-area",
        boxes_set("a.jpg,100,80,cat,0,0,0,5\nb.jpg,100,80,dog,100,0,120,5\n"),
        "train has no images",
    ),
    MalformedData(
        "column-of-groups-missing",
        boxes_set(SOUND_ROWS, splits={"train": "train", "val": 0.5, "group": {"column": "video"}}),
        "_annotations.csv:1: columns missing: video; found 'filename'",
    ),
    MalformedData(
        "synthetic-of-a-class-misspelt",
        boxes_set(SOUND_ROWS, synthetic={"labels_except": ["catt"]}),
        "_annotations.csv: data.synthetic.labels_except: no class 'catt'; did you mean 'cat'?",
    ),
    # --- lists
    MalformedData(
        "list-missing",
        lists_set(SOUND_LINES, splits={"train": "train.txt", "val": "valid.txt"}),
        "did you mean 'val.txt'",
    ),
    MalformedData(
        "training-list-not-written",
        lists_set(SOUND_LINES, splits={"val": "val.txt"}),
        "write the list to train on, train: train.txt",
    ),
    MalformedData("line-without-a-label", lists_set(SOUND_LINES + "\nc.jpg\n"), "train.txt:4: 'c.jpg' has no label"),
    MalformedData(
        "listed-image-missing", lists_set(SOUND_LINES + "g.jpg cat\n"), "train.txt:3: no such image: 'g.jpg'"
    ),
    MalformedData(
        "listed-name-too-long-for-a-file",
        lists_set(SOUND_LINES + "a" * 3000 + ".jpg cat\n"),
        "train.txt:3: no such image: 'aaaa",
    ),
    MalformedData(
        "listed-image-of-other-case",
        lists_set(SOUND_LINES + "C.JPG cat\n"),
        "train.txt:3: no such image: 'C.JPG'; did you mean 'c.jpg'?",
    ),
    MalformedData(
        "listed-path-is-absolute",
        lists_set(SOUND_LINES + "/etc/a.jpg cat\n"),
        "train.txt:3: the path '/etc/a.jpg' is absolute",
    ),
    MalformedData(
        "listed-path-leaves-the-root",
        lists_set(SOUND_LINES + "../a.jpg cat\n"),
        "train.txt:3: the path '../a.jpg' leaves",
    ),
    MalformedData(
        "listed-path-of-windows",
        lists_set(SOUND_LINES + "C:\\a.jpg cat\n"),
        "train.txt:3: the path 'C:\\\\a.jpg' is absolute",
    ),
    MalformedData(
        "listed-link-out-of-the-root", listed_link_outside, "train.txt:2: 'link.jpg' is a symbolic link out of"
    ),
    MalformedData(
        "image-with-two-labels",
        lists_set(SOUND_LINES + "a.jpg dog\n"),
        "train.txt:3: 'a.jpg' has the label 'dog', but 'cat' in",
    ),
    MalformedData(
        "image-in-two-splits",
        lists_set(SOUND_LINES, val="b.jpg dog\ne.jpg cat\n"),
        "val.txt:1: 'b.jpg' is in val and in train",
    ),
    MalformedData(
        "label-without-a-name",
        lists_set("a.jpg 0\nb.jpg 7\n", val="e.jpg 0\n", classes="0 cat\n1 dog\n"),
        "train.txt:2: the label '7' is not in the classes file",
    ),
    MalformedData(
        "class-line-without-an-id",
        lists_set("a.jpg 0\nb.jpg 1\n", val="e.jpg 0\n", classes="0 cat\ndog\n"),
        "classes.txt:2: 'dog' is no class; write an id and a name",
    ),
    MalformedData(
        "class-id-of-thousands-of-digits",
        lists_set("a.jpg 0\nb.jpg 1\n", val="e.jpg 0\n", classes=f"0 cat\n{'9' * 5000} dog\n"),
        "classes.txt:2: '9999",
    ),
    MalformedData(
        "class-id-twice",
        lists_set("a.jpg 0\nb.jpg 1\n", val="e.jpg 0\n", classes="0 cat\n0 dog\n1 cow\n"),
        "classes.txt:2: the number 0 stands twice",
    ),
    MalformedData("list-is-no-text", lists_set("a.jpg\0cat\n"), "train.txt:1: holds a zero byte"),
    MalformedData("list-is-blank", lists_set("\n\n"), "train has no images"),
)


def _with(root: Path, change: Callable[[], object]) -> Path:
    change()
    return root
