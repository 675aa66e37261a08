"""Read the tensors of a torch file of the old, non-zip kind, without unpickling anything.

Such a file is five pickles (magic number, version, machine, objects, storage keys), then the raw storages. Unpickling
runs whatever code a file asks for. Here a small machine follows the pickle's opcodes instead: it knows those that a
dictionary of tensors needs, makes nothing but plain values, and refuses all else.
"""

import io
import math
import pickletools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Never

import numpy as np
from numpy.typing import NDArray

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_STORAGES: Mapping[str, str] = {"torch FloatStorage": "<f4", "torch LongStorage": "<i8"}
_ORDERED_DICT = "collections OrderedDict"
_TENSOR = "torch._utils _rebuild_tensor_v2"
_LENGTH_BYTES = 8  # before each storage's data, its number of values
_MOST_AXES = 8
_LARGEST_NUMBER = 2**31 - 1  # of a shape, a stride, an offset: what numpy takes without overflow


class ArchiveError(ValueError):
    """The file is damaged, or asks for something a dictionary of tensors does not need."""


@dataclass(frozen=True)
class _Global:
    """The name of something that a pickle would import. It stays a name."""

    name: str


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class _View:
    """A tensor as a window on a storage; offset and strides count values."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Mark:
    """Where a pickle began to list things."""


def read_archive(data: bytes) -> dict[str, NDArray[Any]]:
    """Read a dictionary of float32 and int64 tensors.

    Args:
        data: the whole file.

    Returns:
        Name to array, each contiguous and a copy of its own.

    Raises:
        ArchiveError: anything else than such a file; nothing it says was executed.
    """
    stream = io.BytesIO(data)
    if _Machine(stream).run() != _MAGIC or _Machine(stream).run() != _VERSION:
        _refuse("not a torch file of the old kind")
    system = _Machine(stream).run()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        _refuse("not written on a little-endian machine")
    views = _Machine(stream).run()
    if not isinstance(views, dict) or not all(isinstance(view, _View) for view in views.values()):
        _refuse("does not hold a dictionary of tensors")
    storages = _read_storages(stream, views, _Machine(stream).run())
    return {name: _array(view, storages[view.storage.key]) for name, view in views.items()}


def _read_storages(stream: io.BytesIO, views: Mapping[str, _View], keys: Any) -> dict[str, NDArray[Any]]:
    known = {view.storage.key: view.storage for view in views.values()}
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or sorted(keys) != sorted(known):
        _refuse("its list of storages is not the one its tensors use")
    storages = {}
    for storage in (known[key] for key in keys):
        length = stream.read(_LENGTH_BYTES)
        if len(length) < _LENGTH_BYTES or struct.unpack("<q", length)[0] != storage.count:
            _refuse(f"storage {storage.key} has not the length it should have")
        size = storage.count * np.dtype(storage.dtype).itemsize
        if size > stream.getbuffer().nbytes - stream.tell():
            _refuse(f"ends within storage {storage.key}")
        storages[storage.key] = np.frombuffer(stream.read(size), storage.dtype)
    if stream.read(1):
        _refuse("goes on after its last storage")
    return storages


def _array(view: _View, storage: NDArray[Any]) -> NDArray[Any]:
    size = math.prod(view.shape)
    last = view.offset + sum((length - 1) * stride for length, stride in zip(view.shape, view.strides, strict=True))
    if not size or size > len(storage) or last >= len(storage):
        _refuse(f"a tensor of shape {view.shape} does not lie within its storage of {len(storage)} values")
    strides = [stride * storage.itemsize for stride in view.strides]
    return np.lib.stride_tricks.as_strided(storage[view.offset :], view.shape, strides, writeable=False).copy()


class _Machine:
    """Follows one pickle, from the stream's position to its end."""

    def __init__(self, stream: io.BytesIO) -> None:
        self._stream = stream
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Give the one value the pickle describes."""
        try:
            for opcode, argument, _ in pickletools.genops(self._stream):
                self._follow(opcode.name, argument)
        except ArchiveError:
            raise
        except ValueError as error:  # what pickletools says of a torn or foreign stream
            raise ArchiveError(f"not readable as a pickle: {error}") from error
        if len(self._stack) != 1 or isinstance(self._stack[0], _Mark):
            _refuse("a pickle without exactly one value")
        return self._stack[0]

    def _follow(self, opcode: str, argument: Any) -> None:
        if opcode in _CONSTANTS:
            self._stack.append(_CONSTANTS[opcode]())
        elif opcode in _LITERALS:
            self._stack.append(argument)
        elif opcode in _ACTIONS:
            _ACTIONS[opcode](self, argument)
        else:
            _refuse(f"asks for {opcode}, which a dictionary of tensors does not need")

    def _pop(self) -> Any:
        if not self._stack:
            _refuse("takes a value where there is none")
        return self._stack.pop()

    def _pop_to_mark(self) -> list[Any]:
        items: list[Any] = []
        while not isinstance(item := self._pop(), _Mark):
            items.append(item)
        return items[::-1]

    def _nothing(self, _argument: Any) -> None:
        pass

    def _put(self, key: int) -> None:
        self._stack.append(value := self._pop())
        self._memo[key] = value

    def _get(self, key: int) -> None:
        if key not in self._memo:
            _refuse("recalls a value that it never stored")
        self._stack.append(self._memo[key])

    def _global(self, name: str) -> None:
        if name not in (_ORDERED_DICT, _TENSOR, *_STORAGES):
            _refuse(f"asks for {name.replace(' ', '.')}, which a dictionary of tensors does not need")
        self._stack.append(_Global(name))

    def _tuple(self, _argument: Any) -> None:
        self._stack.append(tuple(self._pop_to_mark()))

    def _pair(self, _argument: Any) -> None:
        second, first = self._pop(), self._pop()
        self._stack.append((first, second))

    def _single(self, _argument: Any) -> None:
        self._stack.append((self._pop(),))

    def _set_item(self, _argument: Any) -> None:
        value, key = self._pop(), self._pop()
        self._set([key, value])

    def _set_items(self, _argument: Any) -> None:
        self._set(self._pop_to_mark())

    def _set(self, flat: list[Any]) -> None:
        target = self._top(dict)
        if len(flat) % 2 or not all(isinstance(key, str) for key in flat[::2]):
            _refuse("a dictionary with keys that are not text")
        target.update(zip(flat[::2], flat[1::2], strict=True))

    def _append(self, _argument: Any) -> None:
        item = self._pop()
        self._top(list).append(item)

    def _appends(self, _argument: Any) -> None:
        items = self._pop_to_mark()
        self._top(list).extend(items)

    def _top(self, kind: type[Any]) -> Any:
        if not self._stack or not isinstance(self._stack[-1], kind):
            _refuse(f"adds to something that is no {kind.__name__}")
        return self._stack[-1]

    def _build(self, _argument: Any) -> None:
        """Attributes of a dictionary (torch keeps layer versions there) are dropped."""
        self._pop()
        self._top(dict)

    def _storage(self, _argument: Any) -> None:
        match self._pop():
            case ("storage", _Global(name), str(key), str(), int(count), None) if name in _STORAGES and count >= 0:
                self._stack.append(_Storage(key, _STORAGES[name], count))
            case _:
                _refuse("refers to something that is no storage")

    def _reduce(self, _argument: Any) -> None:
        arguments, function = self._pop(), self._pop()
        match function, arguments:
            case _Global(name), () if name == _ORDERED_DICT:
                self._stack.append({})
            case _Global(name), (_Storage() as storage, offset, shape, strides, *_) if name == _TENSOR:
                self._stack.append(_View(storage, *_window(offset, shape, strides)))
            case _:
                _refuse("makes something that is no tensor")


def _window(offset: Any, shape: Any, strides: Any) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    if not isinstance(shape, tuple) or not isinstance(strides, tuple) or not len(shape) == len(strides) <= _MOST_AXES:
        _refuse("a tensor without a shape and strides that belong together")
    for number in (offset, *shape, *strides):
        if type(number) is not int or not 0 <= number <= _LARGEST_NUMBER:
            _refuse("a tensor with a shape, stride or offset that is none")
    return offset, shape, strides


def _refuse(why: str) -> Never:
    raise ArchiveError(why)


_CONSTANTS: Mapping[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "MARK": _Mark,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
}
_LITERALS = frozenset({"BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1"})
_ACTIONS: Mapping[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine._nothing,
    "STOP": _Machine._nothing,
    "BINPUT": _Machine._put,
    "LONG_BINPUT": _Machine._put,
    "BINGET": _Machine._get,
    "LONG_BINGET": _Machine._get,
    "GLOBAL": _Machine._global,
    "TUPLE": _Machine._tuple,
    "TUPLE1": _Machine._single,
    "TUPLE2": _Machine._pair,
    "SETITEM": _Machine._set_item,
    "SETITEMS": _Machine._set_items,
    "APPEND": _Machine._append,
    "APPENDS": _Machine._appends,
    "BUILD": _Machine._build,
    "BINPERSID": _Machine._storage,
    "REDUCE": _Machine._reduce,
}
