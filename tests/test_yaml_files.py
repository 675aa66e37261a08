"""YAML 1.2 to plain values with their lines, and back; models with all their faults."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tune_cnn.config import TrialConfig
from tune_cnn.errors import SpaceFileError
from tune_cnn.sections.model import Freeze
from tune_cnn.yaml_files import MAX_BYTES, emitted_text, load_model, plain_scalar, read_text, read_yaml, write_yaml

SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize(
    ("written", "value"),
    [
        pytest.param("1e-3", 1e-3, id="exponent-without-a-point"),
        pytest.param("1e5", 1e5, id="exponent-without-a-sign"),
        pytest.param("1E+5", 1e5, id="capital-exponent"),
        pytest.param(".5", 0.5, id="no-leading-zero"),
        pytest.param(".5e3", 500.0, id="no-leading-zero-and-exponent"),
        pytest.param("5.", 5.0, id="no-digits-after-the-point"),
        pytest.param("-1.5", -1.5, id="negative"),
        pytest.param("+3", 3, id="plus"),
        pytest.param("007", 7, id="leading-zeros-are-decimal"),
        pytest.param("0x1F", 31, id="hexadecimal"),
        pytest.param("0o17", 15, id="octal"),
        pytest.param("9223372036854775807", 2**63 - 1, id="largest-whole-number"),
        pytest.param("true", True, id="true"),
        pytest.param("False", False, id="False"),
        pytest.param("null", None, id="null"),
        pytest.param("~", None, id="tilde"),
        pytest.param("", None, id="nothing"),
        pytest.param("none", "none", id="none-is-text"),
        pytest.param("no", "no", id="no-is-text"),
        pytest.param("on", "on", id="on-is-text"),
        pytest.param("1_000", "1_000", id="underscores-are-text"),
        pytest.param("2020-01-01", "2020-01-01", id="dates-are-text"),
        pytest.param("1:30", "1:30", id="times-are-text"),
        pytest.param("0b11", "0b11", id="binary-is-text"),
        pytest.param("'1e-3'", "1e-3", id="single-quotes"),
        pytest.param('"\\x31"', "1", id="double-quotes"),
        pytest.param("=", "=", id="equals-sign"),
        pytest.param("~/images", "~/images", id="home"),
    ],
)
def test_a_scalar_is_read_by_yaml_1_2(written: str, value: Any) -> None:
    tree, _ = read_text(f"a: {written}\n", str)
    assert tree == {"a": value}
    assert type(tree["a"]) is type(value)


def test_every_name_and_item_knows_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("# comment\na: 1\nb:\n  c: [1,\n      2]\n  d:\n    - x\n    - {e: 1}\n")
    assert dict(read_yaml(path).lines) == {
        ("a",): 2,
        ("b",): 3,
        ("b", "c"): 4,
        ("b", "c", 0): 4,
        ("b", "c", 1): 5,
        ("b", "d"): 6,
        ("b", "d", 0): 7,
        ("b", "d", 1): 8,
        ("b", "d", 1, "e"): 8,
    }


def test_an_alias_is_its_anchor_s_value_and_lines_lead_to_the_anchor() -> None:
    tree, lines = read_text("a: &a\n  x: 1\nb: *a\n", str)
    assert tree == {"a": {"x": 1}, "b": {"x": 1}}
    assert (lines["b",], lines["b", "x"]) == (3, 2)


def test_a_byte_order_mark_and_windows_lines_are_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    document = read_yaml(path)
    assert document.tree == {"a": 1, "b": 2}
    assert document.lines["b",] == 2


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(b"a: 1\nb: caf\xe9\n", ":2: not UTF-8 text", id="latin-1"),
        pytest.param("a: 1\n".encode("utf-16"), ":1: not UTF-8 text", id="utf-16"),
        pytest.param(b"a: \x00\n", ":1: the character '\\x00' cannot stand in YAML", id="null-byte"),
        pytest.param(b"a: \x1b[31m\n", ":1: the character '\\x1b' cannot stand in YAML", id="escape-code"),
        pytest.param(b"a: 1\n" * MAX_BYTES, "bytes are too many", id="too-large"),
        pytest.param(b'a: "b\\0c"\n', r":1: the text 'b\x00c' holds the character \0", id="null-byte-by-an-escape"),
        pytest.param(b'a: 1\nb: "\\UFFFFFFFF"\n', "an escape that is no character", id="beyond-unicode"),
        pytest.param(b"a: 1\na: 2\nb: 1\nb: 2\n", ":4: b: written twice, first in line 3", id="second-of-two-faults"),
        pytest.param(b"a: &a [1]\nb: *c\n", ":2: the alias *c has no anchor before it", id="unknown-alias"),
        pytest.param(b"%YAML 3.0\n---\na: 1\n", ":1: not YAML: found incompatible YAML document", id="yaml-3"),
        pytest.param(
            b'"a\\x1b[2Jb": 1\n"a\\x1b[2Jb": 1\n', r":2: a\x1b[2Jb: written twice", id="escape-code-in-a-name"
        ),
    ],
)
def test_a_file_that_is_no_yaml_is_refused_with_its_line(data: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(data)
    with pytest.raises(SpaceFileError) as caught:
        read_yaml(path)
    assert says in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(SpaceFileError, match="No such file or directory"):
        read_yaml(tmp_path / "a.yaml")
    with pytest.raises(SpaceFileError, match="Is a directory"):
        read_yaml(tmp_path)


TRAPS = (
    *("1e-3", ".5e3", "null", "~", "", "true", "no", "<<", ".nan"),
    *("-", "? a", "a: b", "0x1F", "#", "é", "\u2028", "\x1b", "007"),
)
TEXTS = st.one_of(st.text(max_size=8), st.sampled_from(TRAPS))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.floats(-1e18, 1e18),
    TEXTS.filter(lambda text: not any(0xD800 <= ord(letter) < 0xE000 or letter == "\0" for letter in text)),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(TEXTS.filter(str.isprintable), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(tree=TREES)
@example(tree=["\x85", "a\u2028b", "\u2029", "\ufeff"])
@settings(SETTINGS, max_examples=200)
def test_what_is_written_is_read_back(tree: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    write_yaml(path, {"tree": tree})
    found = read_yaml(path).tree
    assert found == {"tree": tree}
    assert repr(found["tree"]) == repr(tree)


@given(tree=TREES)
@example(tree=[[], {}, [[1, [{}]]], [{"a": [{"b": [[]], "c": {}}]}], {"a": {"b": [1, {"c": 2}]}}])
@example(tree={"x" * 128: "y" * 300, "": "", " a ": " b ", "it's": 'say "a"', "a: b": "- c", "[": "{", "1": "#"})
@example(tree=[0.0, -0.0, 1, 1.0, True, 1e22, 1e-7, "1", "1.0", "true", None, "null"])
@settings(SETTINGS, max_examples=150)
def test_what_is_written_fast_is_to_the_letter_what_the_emitter_of_ruamel_writes(tree: Any, tmp_path: Path) -> None:
    write_yaml(tmp_path / "a.yaml", {"a": tree, "b": [tree]})
    assert (tmp_path / "a.yaml").read_text() == emitted_text({"a": tree, "b": [tree]})


@pytest.mark.parametrize("tree", [{}, [], [1, {"a": 2}], "a", 1.5, {1: 2}, {"a": (1, 2)}, {"a": float("inf")}])
def test_a_tree_of_an_unusual_shape_is_left_to_the_emitter_of_ruamel(tree: Any, tmp_path: Path) -> None:
    write_yaml(tmp_path / "a.yaml", tree)
    assert (tmp_path / "a.yaml").read_text() == emitted_text(tree)


def test_a_file_is_written_in_plain_blocks_in_the_order_given(tmp_path: Path) -> None:
    write_yaml(tmp_path / "a.yaml", {"b": {"lr": 1e-5, "kind": "adam"}, "a": [1, "1"], "c": None, "long": "x " * 200})
    assert (tmp_path / "a.yaml").read_text().splitlines()[:6] == [
        "b:",
        "  lr: 1e-05",
        "  kind: adam",
        "a:",
        "- 1",
        '- "1"',
    ]


def test_the_old_file_stands_if_the_new_one_cannot_be_written(tmp_path: Path) -> None:
    write_yaml(tmp_path / "a.yaml", {"a": 1})
    with pytest.raises(Exception, match="cannot represent an object"):
        write_yaml(tmp_path / "a.yaml", {"a": object()})
    assert read_yaml(tmp_path / "a.yaml").tree == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.yaml"]


def test_a_config_that_was_written_is_loaded_as_it_was(tmp_path: Path) -> None:
    data = {"kind": "folders", "root": "/images", "splits": {"val": 0.2}}
    augment = [{"transform": "Rotate", "arguments": {"limit": 30}}]
    model = {"backbone": "resnet50", "head": {"hidden": [64]}, "freeze": {"depth": 0.5}}
    config = TrialConfig.model_validate({"name": "a", "data": data, "model": model, "augment": augment})
    write_yaml(tmp_path / "config.yaml", config.model_dump(mode="json"))
    assert load_model(tmp_path / "config.yaml", TrialConfig) == config


def test_all_faults_of_a_config_are_told_in_the_order_of_the_lines(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("name: a\nseed: -1\nmodel:\n  backbone: 3\n  dropout: 0.1\ndata: {kind: folder}\n")
    with pytest.raises(SpaceFileError) as caught:
        load_model(path, TrialConfig)
    assert caught.value.faults == (
        f"{path}:2: seed: -1 is too small; write 0 or more",
        f"{path}:4: model.backbone: 3 is not text; write e.g. tf_efficientnet_lite0",
        f"{path}:5: model.dropout: unknown name; did you mean model.head.dropout?",
        f"{path}:6: data.kind: 'folder' is unknown; did you mean 'folders'? Known: folders, boxes_csv, lists, masks",
    )


def test_a_file_that_is_no_mapping_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "freeze.yaml"
    path.write_text("- 1\n")
    with pytest.raises(SpaceFileError, match="1: a list is not a section"):
        load_model(path, Freeze)


@given(text=st.text(max_size=12))
def test_a_plain_scalar_of_any_text_is_a_value(text: str) -> None:
    assert plain_scalar(text) is None or isinstance(plain_scalar(text), str | int | float | bool)
