from pathlib import Path

import pytest
from pydantic import TypeAdapter

from tests.data.malformed_data import MALFORMED, MalformedData, Section, boxes_set, folder_set, two_bad_files
from tune_cnn.data.cache import Cache
from tune_cnn.data.dataset import open_data
from tune_cnn.errors import DataError
from tune_cnn.sections.data import Data
from tune_cnn.sections.image import ImageConfig

SECTION: TypeAdapter[Data] = TypeAdapter(Data)


def refusal(section: Section, cache: Path) -> DataError:
    with pytest.raises(DataError) as refused:
        open_data(SECTION.validate_python(section), ImageConfig(px=16), cache=Cache(cache))
    return refused.value


@pytest.mark.parametrize("case", MALFORMED, ids=lambda case: case.id)
def test_a_malformed_data_set_is_refused_with_its_reason(case: MalformedData, tmp_path: Path) -> None:
    root = tmp_path / "set"
    root.mkdir()
    error = refusal(case.build(root), tmp_path / "cache")
    lines = str(error).splitlines()
    assert any(case.says in line for line in lines), str(error)
    assert len(lines) == len(error.faults) == len(set(lines)), "one fault a line, none twice"
    assert all(line.startswith(str(root)) for line in lines), "each line begins with the place"


def test_there_are_at_least_thirty_malformed_data_sets_of_distinct_names() -> None:
    assert len({case.id for case in MALFORMED}) == len(MALFORMED) >= 30


def test_all_bad_rows_of_all_tables_are_reported_at_once(tmp_path: Path) -> None:
    rows = "a.jpg,100,80,cat,x,y,5,5\nc.jpg,100,80,cat,0,0,5,5\nb.jpg,0,-1,,0,0,5,5\n"
    error = refusal(boxes_set(rows)(tmp_path), tmp_path / "cache")
    assert [fault.partition("_annotations.csv:")[2] for fault in error.faults] == [
        "2: xmin is 'x'; write a number",
        "2: ymin is 'y'; write a number",
        "3: no such image: 'c.jpg'",
        "4: class is empty; write a name",
        "4: width is 0; write the image's size",
        "4: height is -1; write the image's size",
    ]


def test_a_missing_image_of_many_boxes_is_reported_once(tmp_path: Path) -> None:
    error = refusal(boxes_set("c.jpg,100,80,cat,0,0,5,5\n" * 20)(tmp_path), tmp_path / "cache")
    assert len(error.faults) == 1


def test_every_unreadable_image_is_listed(tmp_path: Path) -> None:
    error = refusal(folder_set(two_bad_files)(tmp_path), tmp_path / "cache")
    assert [fault.split(":")[0].removeprefix(f"{tmp_path}/") for fault in error.faults] == [
        "train/cat/0.jpg",
        "train/dog/0.jpg",
    ]
