"""Find the files that an ONNX graph names for its weights, before ONNX Runtime opens them.

A graph is a protobuf message, a tree of fields. A tensor whose data is in another file names that file
(`external_data`, onnx.proto). The package `onnx` may not be installed where graphs are only run, and it holds a whole
graph in memory, so this module walks the few fields that lead to tensors and skips the rest, weights included.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from lmcot_cli.errors import ModelError
from lmcot_cli.model_files.places import check_file

MAX_DEPTH = 64
"""Maximum depth of nested graphs (an If in a Loop...) in a model."""

_TENSOR, _ENTRY = "TensorProto", "StringStringEntryProto"
_PARTS: Mapping[str, Mapping[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: _TENSOR, 15: "SparseTensorProto"},
    "SparseTensorProto": {1: _TENSOR, 2: _TENSOR},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: _TENSOR, 6: "GraphProto", 10: _TENSOR, 11: "GraphProto", 22: "SparseTensorProto", 23: "SparseTensorProto",
    },
    _TENSOR: {13: _ENTRY},
}  # fmt: skip
"""The fields of each message that lead to tensors, with the type of their content."""

_LOCATION = b"location"


class _Field(NamedTuple):
    """A field of a message: its number, and the place of its content (empty for a field without a length)."""

    number: int
    begin: int
    end: int


def graph_files(folder: Path) -> list[Path]:
    """Return the graphs of a folder and the files with their weights, after checking that they lie in the folder.

    Raises:
        ModelError: A graph is damaged, or names a file that does not exist or lies elsewhere.
    """
    found: dict[Path, None] = {}
    for path in sorted(folder.glob("**/*.onnx")):  # optimum looks for graphs in subfolders, too
        graph = check_file(folder, path.relative_to(folder).as_posix())
        found[graph] = None
        place = graph.parent.relative_to(folder)
        for name in external_files(graph):
            if "\\" in name:
                raise ModelError(
                    f"{graph}: names {name!r} as the place of its weights; export the model anew"
                )
            found[_within(folder, place, name, graph)] = None
    return list(found)


def external_files(graph: Path) -> list[str]:
    """Return the names of the files with a graph's weights, as the graph writes them, each once.

    Raises:
        ModelError: The graph cannot be read, or is damaged.
    """
    try:
        with graph.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            names = dict.fromkeys(_locations(data, graph))
    except (OSError, ValueError) as error:  # an empty file cannot be mapped
        raise ModelError(f"{graph}: cannot be read: {error}; export the model anew") from error
    return list(names)


def _within(folder: Path, place: Path, name: str, graph: Path) -> Path:
    """Return the file beside a graph that contains weights of it."""
    if Path(name).is_absolute() or ".." in Path(name).parts or not name:
        raise ModelError(
            f"{graph}: its weights are to lie in {name!r}, outside its folder; they are not read"
        )
    return check_file(folder, (place / name).as_posix())


def _locations(data: mmap.mmap, graph: Path) -> Iterator[str]:
    """Walk the messages that lead to tensors, without recursion, and yield the files of their data."""
    waiting = [("ModelProto", 0, len(data), 0)]
    while waiting:
        message, begin, end, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise _damaged(graph, "graphs are nested too deeply")
        if message == _ENTRY:
            yield from _location(data, begin, end, graph)
            continue
        for field in _fields(data, begin, end, graph):
            if part := _PARTS[message].get(field.number):
                waiting.append((part, field.begin, field.end, depth + 1))


def _location(data: mmap.mmap, begin: int, end: int, graph: Path) -> Iterator[str]:
    """Yield the value of an entry whose key is `location`."""
    content = {field.number: data[field.begin : field.end] for field in _fields(data, begin, end, graph)}
    if content.get(1) == _LOCATION:
        yield content.get(2, b"").decode("utf-8", "replace")


def _fields(data: mmap.mmap, at: int, end: int, graph: Path) -> Iterator[_Field]:
    while at < end:
        key, at = _number(data, at, end, graph)
        kind = key & 7
        if kind == 2:
            length, at = _number(data, at, end, graph)
            after = at + length
        elif kind == 0:
            _, after = _number(data, at, end, graph)
        elif kind in (1, 5):
            after = at + (8 if kind == 1 else 4)
        else:
            raise _damaged(graph, f"a field of kind {kind} at byte {at:,}")
        if after > end:
            raise _damaged(graph, f"it ends within a field at byte {at:,}")
        yield _Field(key >> 3, at, after if kind == 2 else at)
        at = after


def _number(data: mmap.mmap, at: int, end: int, graph: Path) -> tuple[int, int]:
    """Read a number of up to ten bytes, seven bits each; return it and the place after it."""
    number = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise _damaged(graph, "it ends within a number")
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise _damaged(graph, f"a number that does not end at byte {at:,}")


def _damaged(graph: Path, reason: str) -> ModelError:
    return ModelError(f"{graph}: is no ONNX graph, or is damaged ({reason}); export the model anew")
