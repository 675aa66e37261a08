import os
import pickle
import pickletools
import random
import struct
from collections import OrderedDict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tune_cnn.models.weights_archive import ArchiveError, read_archive

MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
VERSION = b"\x80\x02M\xe9\x03."
SYSTEM = b"\x80\x02}X\r\x00\x00\x00little_endian\x88s."


def archive(tensors: dict[str, torch.Tensor]) -> bytes:
    """Let torch itself write a file of the old kind."""
    stream = BytesIO()
    torch.save(OrderedDict(tensors), stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


def with_objects(objects: bytes, rest: bytes = b"\x80\x02].") -> bytes:
    return MAGIC + VERSION + SYSTEM + objects + rest


def number(value: int) -> bytes:
    """LONG1, in a tuple of its own."""
    content = value.to_bytes(12, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


def tensor(shape: bytes = b"K\x01", strides: bytes = b"K\x01", count: bytes = b"K\x01") -> bytes:
    """A dictionary with one tensor, of one axis unless `shape` and `strides` are tuples."""
    shape, strides = (part if part.startswith(b"(") else part + b"\x85" for part in (shape, strides))
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + count + b"NtQ"
    rebuilt = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + shape + strides + b"\x89}tR"
    return b"\x80\x02}X\x01\x00\x00\x00a" + rebuilt + b"s."


KEYS = b"\x80\x02]X\x01\x00\x00\x000a."
ONE_VALUE = struct.pack("<qf", 1, 2.5)

TENSORS = {
    "plain": torch.arange(12.0).reshape(3, 4),
    "transposed": torch.arange(12.0).reshape(3, 4).t(),
    "scalar": torch.tensor(7),
    "slice": torch.arange(20.0)[5:9],
}


def test_every_tensor_is_read_as_torch_wrote_it() -> None:
    read = read_archive(archive(TENSORS))
    assert list(read) == list(TENSORS)
    for name, tensor in TENSORS.items():
        assert read[name].dtype == tensor.numpy().dtype
        assert read[name].flags.c_contiguous
        np.testing.assert_array_equal(read[name], tensor.numpy())


def test_tensors_that_share_a_storage_become_copies() -> None:
    whole = torch.arange(6.0)
    read = read_archive(archive({"whole": whole, "part": whole[2:4]}))
    read["whole"][2] = 99
    assert read["part"].tolist() == [2.0, 3.0]


def test_the_state_dict_of_a_module_with_its_versions_is_read() -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    read = read_archive(archive(module.state_dict()))
    assert {name: tuple(value.shape) for name, value in module.state_dict().items()} == {
        name: value.shape for name, value in read.items()
    }


class Runs:
    """Unpickled, this makes a file; the stream is what an attacker would send."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> Any:
        return self._call


@pytest.mark.parametrize("position", ["first", "objects", "keys", "inside"])
@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_stream_that_asks_for_code_runs_nothing(tmp_path: Path, position: str, protocol: int) -> None:
    made = tmp_path / "made"
    hostile = pickle.dumps(Runs(os.mkdir, str(made)), protocol)
    inside = b"\x80\x02}X\x01\x00\x00\x00a" + hostile[2 if protocol >= 2 else 0 : -1] + b"s."
    data = {
        "first": hostile,
        "objects": with_objects(hostile),
        "keys": with_objects(b"\x80\x02}.", hostile),
        "inside": with_objects(inside),
    }[position]
    with pytest.raises(ArchiveError, match="does not need"):
        read_archive(data)
    assert not made.exists()
    pickle.loads(hostile)  # noqa: S301 - shows that the stream would have done it
    assert made.exists()


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param(b"cos\nsystem\n(X\x02\x00\x00\x00lstR.", id="os-system"),
        pytest.param(b"cbuiltins\neval\n(X\x01\x00\x00\x001tR.", id="eval"),
        pytest.param(b"ctorch._utils\n_rebuild_tensor\n.", id="another-torch-function"),
        pytest.param(b"ccollections OrderedDict\nx\n.", id="a-name-with-a-space"),
        pytest.param(b"(X\x02\x00\x00\x00lsios\nsystem\n.", id="inst"),
        pytest.param(b"\x82\x01.", id="extension-registry"),
        pytest.param(b"X\x02\x00\x00\x00osX\x06\x00\x00\x00system\x93.", id="stack-global"),
        pytest.param(b"}\x81.", id="newobj"),
        pytest.param(b"K\x01Q.", id="a-storage-that-is-none"),
        pytest.param(b"ccollections\nOrderedDict\nK\x01\x85R.", id="a-dictionary-made-of-something"),
        pytest.param(b"ctorch._utils\n_rebuild_tensor_v2\n)R.", id="a-tensor-made-of-nothing"),
        pytest.param(b"}K\x01K\x02s.", id="a-key-that-is-no-text"),
        pytest.param(b"}X\x01\x00\x00\x00aK\x02s.", id="a-tensor-that-is-a-number"),
        pytest.param(b"K\x01K\x01K\x01s.", id="an-item-of-a-number"),
        pytest.param(b"0.", id="pop"),
        pytest.param(b"s.", id="nothing-to-take"),
        pytest.param(b"K\x01K\x02.", id="two-values"),
        pytest.param(b"(.", id="a-mark-for-a-value"),
        pytest.param(b"h\x07.", id="recalled-but-never-stored"),
        pytest.param(b"e.", id="no-list"),
        pytest.param(b"K\x01b.", id="attributes-of-nothing"),
        pytest.param(tensor(shape=number(2**70)), id="a-length-beyond-all"),
        pytest.param(tensor(strides=number(2**70)), id="a-stride-beyond-all"),
        pytest.param(tensor(count=number(2**80)), id="a-storage-beyond-all"),
        pytest.param(tensor(count=number(-1)), id="a-storage-of-less-than-nothing"),
        pytest.param(tensor(shape=b"K\x00"), id="a-tensor-of-nothing"),
        pytest.param(tensor(shape=b"(" + b"K\x01" * 99 + b"t", strides=b"(" + b"K\x01" * 99 + b"t"), id="99-axes"),
        pytest.param(b"}", id="no-end"),
        pytest.param(b"\xff", id="no-opcode"),
    ],
)
def test_what_is_not_a_dictionary_of_tensors_is_refused(objects: bytes) -> None:
    with pytest.raises(ArchiveError):
        read_archive(with_objects(objects, KEYS + ONE_VALUE))


def test_the_stream_that_these_cases_spoil_is_read_when_it_is_not_spoilt() -> None:
    assert read_archive(with_objects(tensor(), KEYS + ONE_VALUE))["a"].tolist() == [2.5]


@pytest.mark.parametrize(
    ("keys", "storages"),
    [
        pytest.param(b"\x80\x02])" + b"\x85" * 100_000 + b"a.", ONE_VALUE, id="a-key-nested-100000-times"),
        pytest.param(b"\x80\x02]X\x01\x00\x00\x001a.", ONE_VALUE, id="another-key"),
        pytest.param(b"\x80\x02]X\x01\x00\x00\x000aX\x01\x00\x00\x000a.", ONE_VALUE * 2, id="a-key-twice"),
        pytest.param(KEYS, struct.pack("<qf", 2**62, 2.5), id="another-length"),
        pytest.param(KEYS, b"\x01", id="half-a-length"),
    ],
)
def test_storages_that_do_not_belong_to_the_tensors_are_refused(keys: bytes, storages: bytes) -> None:
    with pytest.raises(ArchiveError):
        read_archive(with_objects(tensor(), keys + storages))


def test_a_storage_that_claims_more_than_memory_holds_is_refused() -> None:
    with pytest.raises(ArchiveError, match="ends within storage 0"):
        read_archive(with_objects(tensor(count=number(2**62)), KEYS + struct.pack("<q", 2**62)))


def tampered(old: bytes, new: bytes) -> bytes:
    data = archive({"a": torch.arange(6.0).reshape(2, 3)})
    assert data.count(old) >= 1
    return data.replace(old, new, 1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "not readable", id="empty"),
        pytest.param(b"PK\x03\x04", "not readable", id="zip"),
        pytest.param(pickle.dumps(5, 2), "not a torch file of the old kind", id="another-pickle"),
        pytest.param(MAGIC + VERSION + b"\x80\x02}.", "little-endian", id="machine-unknown"),
        pytest.param(archive({"a": torch.zeros(2)}) + b"x", "goes on after", id="longer"),
        pytest.param(archive({"a": torch.zeros(2)})[:-1], "ends within storage", id="shorter"),
        pytest.param(archive({"a": torch.zeros(2, dtype=torch.float64)}), "torch.DoubleStorage", id="another-type"),
        pytest.param(archive({"a": "text"}), "does not hold a dictionary of tensors", id="no-tensor"),  # type: ignore[dict-item]
        pytest.param(
            tampered(b"K\x02K\x03\x86", b"K\x02K\x04\x86"), "does not lie within its storage", id="shape-too-large"
        ),
        pytest.param(
            tampered(b"K\x03K\x01\x86", b"K\x04K\x01\x86"), "does not lie within its storage", id="stride-too-large"
        ),
        pytest.param(
            tampered(b"K\x02K\x03\x86", b"K\x02K\x03\x85"), "that belong together", id="shape-and-strides-differ"
        ),
        pytest.param(
            tampered(b"K\x02K\x03\x86", b"J\xff\xff\xff\x7fK\x03\x86").replace(b"K\x03K\x01\x86", b"K\x00K\x00\x86"),
            "does not lie within its storage",
            id="a-bomb-of-stride-zero",
        ),
        pytest.param(
            tampered(b"K\x02K\x03\x86", b"J\xfe\xff\xff\xffK\x03\x86"), "that is none", id="a-negative-length"
        ),
    ],
)
def test_a_damaged_file_says_what_is_wrong(data: bytes, message: str) -> None:
    with pytest.raises(ArchiveError, match=message):
        read_archive(data)


def test_every_shorter_file_is_refused() -> None:
    data = archive({"a": torch.arange(3.0), "b": torch.tensor(1)})
    for length in range(len(data)):
        with pytest.raises(ArchiveError):
            read_archive(data[:length])


def test_a_file_with_some_bytes_changed_is_read_or_refused_and_nothing_else() -> None:
    data = archive({"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(1)})
    dice = random.Random(0)  # noqa: S311 - a fixed sequence is what is wanted
    refused = 0
    for _ in range(2000):
        changed = bytearray(data)
        for _ in range(dice.randint(1, 4)):
            changed[dice.randrange(len(data))] = dice.randrange(256)
        try:
            read_archive(bytes(changed))
        except ArchiveError:
            refused += 1
    assert refused > 500


def test_the_streams_of_this_file_are_what_they_are_called() -> None:
    assert next(pickletools.genops(MAGIC[2:]))[1] == 0x1950A86A20F9469CFC6C
    assert next(pickletools.genops(VERSION[2:]))[1] == 1001
    assert struct.unpack("<q", archive({"a": torch.zeros(5)})[-28:-20]) == (5,)
