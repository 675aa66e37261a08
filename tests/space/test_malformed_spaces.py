"""Every malformed space is refused with the right line, the right words, and as many faults as it has."""

from pathlib import Path

import pytest

from tests.space.malformed_choices import CHOICE_FAULTS, GOOD_CHOICES
from tests.space.malformed_networks import MALFORMED_NETWORKS
from tests.space.malformed_segmentation import GOOD_MASKS, SEGMENTATION_FAULTS
from tests.space.malformed_spaces import GOOD, MALFORMED_SPACES, MalformedSpace
from tune_cnn.errors import SpaceFileError
from tune_cnn.models.trunk import model_faults, size_faults
from tune_cnn.space.schema import read_space

ALL = MALFORMED_SPACES + MALFORMED_NETWORKS + SEGMENTATION_FAULTS + CHOICE_FAULTS
_LEAST = 50


@pytest.fixture
def space_file(tmp_path: Path) -> Path:
    return tmp_path / "space.yaml"


@pytest.mark.parametrize(
    ("text", "name"),
    [(GOOD, "shapes"), (GOOD_MASKS, "flood"), (GOOD_CHOICES, "shapes")],
    ids=["classes", "masks", "choices"],
)
def test_the_space_that_the_malformed_ones_are_made_from_is_good(text: str, name: str, space_file: Path) -> None:
    space_file.write_text(text)
    assert read_space(space_file, backbone_check=model_faults, size_check=size_faults).name == name


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.id)
def test_a_malformed_space_is_refused_with_its_line_and_what_to_write(case: MalformedSpace, space_file: Path) -> None:
    space_file.write_text(case.text)
    with pytest.raises(SpaceFileError) as caught:
        read_space(space_file, backbone_check=model_faults, size_check=size_faults)
    assert case.says in str(caught.value)
    assert caught.value.faults[0].startswith(f"{space_file}:{case.line}: ")
    assert len(caught.value.faults) == case.faults


def test_there_are_many_malformed_spaces_and_each_has_a_name_of_its_own() -> None:
    assert len({case.id for case in ALL}) == len(ALL) >= _LEAST


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.id)
def test_no_message_shows_the_inside_of_the_checker(case: MalformedSpace, space_file: Path) -> None:
    space_file.write_text(case.text)
    with pytest.raises(SpaceFileError) as caught:
        read_space(space_file, backbone_check=model_faults, size_check=size_faults)
    for inside in ("pydantic", "literal[", "tuple[", "constrained", "tag:yaml", "ruamel", "Traceback", "\x1b"):
        assert inside not in str(caught.value)


def test_faults_come_in_the_order_of_the_lines(space_file: Path) -> None:
    several = next(case for case in MALFORMED_SPACES if case.id == "several-faults-at-once")
    space_file.write_text(several.text)
    with pytest.raises(SpaceFileError) as caught:
        read_space(space_file)
    lines = [int(fault.removeprefix(f"{space_file}:").partition(":")[0]) for fault in caught.value.faults]
    assert lines == sorted(lines) == [5, 10, 12, 13, 13, 14, 16]
