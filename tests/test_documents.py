"""What the documents tell people to write can be written."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from tests.test_doors import DOORS
from tune_cnn.cli import app
from tune_cnn.search.open_space import open_space
from tune_cnn.space.lint import lint

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CLUSTER = (ROOT / "docs" / "cluster.md").read_text()
COMMANDS = [
    *re.findall(r"^(?:\.venv/bin/)?tune-cnn (.*)$", README + CLUSTER, re.MULTILINE),
    *re.findall(r"`tune-cnn ([a-z]+(?: -[^`]*)?)`", README),
    *re.findall(r"\.venv/bin/tune-cnn ([^\"']*)", CLUSTER),
]


@pytest.mark.parametrize("written", COMMANDS)
def test_the_commands_of_the_readme_exist_with_their_options(written: str) -> None:
    name, *words = shlex.split(written, comments=True)
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options | {"--help"}


def test_the_space_of_the_readme_can_be_read(tmp_path: Path) -> None:
    (text,) = (text for text in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if text.startswith("name: photos"))
    (tmp_path / "photos.yaml").write_text(text)
    space = open_space(tmp_path / "photos.yaml").space
    assert space.parameters
    assert lint(space) == []


@pytest.mark.parametrize("library", ["ray", "optuna", "timm", "albumentations"])
def test_the_doors_are_those_that_contributing_names(library: str) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert all(Path(door).name in text for door in DOORS[library])


def test_every_link_within_the_repository_leads_somewhere() -> None:
    for document in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")):
        for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text()):
            assert (document.parent / link).exists(), (document.name, link)


ROWS = [
    row
    for row in (ROOT / "docs" / "reliability.md").read_text().splitlines()
    if row.startswith("| ") and not row.startswith("| fault |")
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_each_fault_in_the_table_of_reliability_has_tests_that_show_it(row: str) -> None:
    named = re.findall(r"`(tests/[^`:]+)::([^`]+)`", row.split("|")[3])
    assert named
    for file, test in named:
        assert re.search(rf"^ *def {test}\(", (ROOT / file).read_text(), re.MULTILINE), (file, test)
