"""Graphs whose weights lie elsewhere, found without ONNX Runtime and without the package onnx."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.specs import open_model
from lmcot_cli.errors import ModelError
from lmcot_cli.model_files.digests import folders_digest
from lmcot_cli.model_files.onnx_graphs import external_files, graph_files

SECRET = b"\0" * 64


def outside(location: str) -> TensorProto:
    """A tensor whose data lies in another file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[16], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, "offset": "0", "length": "64"}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def in_initializer(location: str) -> onnx.ModelProto:
    return model_of(helper.make_graph([], "g", [], [], [outside(location)]))


def in_constant(location: str) -> onnx.ModelProto:
    return model_of(
        helper.make_graph([helper.make_node("Constant", [], ["c"], value=outside(location))], "g", [], [])
    )


def in_branch(location: str) -> onnx.ModelProto:
    branch = helper.make_graph([], "branch", [], [], [outside(location)])
    node = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    return model_of(helper.make_graph([node], "g", [], []))


def in_sparse(location: str) -> onnx.ModelProto:
    graph = helper.make_graph([], "g", [], [])
    graph.sparse_initializer.add(values=outside(location), dims=[16])
    return model_of(graph)


def in_function(location: str) -> onnx.ModelProto:
    model = model_of(helper.make_graph([], "g", [], []))
    function = model.functions.add(name="f", domain="d")
    function.node.append(helper.make_node("Constant", [], ["c"], value=outside(location)))
    return model


def in_training(location: str) -> onnx.ModelProto:
    model = model_of(helper.make_graph([], "g", [], []))
    model.training_info.add(algorithm=helper.make_graph([], "t", [], [], [outside(location)]))
    return model


def model_of(graph: onnx.GraphProto) -> onnx.ModelProto:
    return helper.make_model(graph)


PLACES = [in_initializer, in_constant, in_branch, in_sparse, in_function, in_training]
WAYS = ["/etc/passwd", "../secret", "sub/../../secret", "linked", "pipe", "missing", ""]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_bytes(SECRET)
    made = tmp_path / "model"
    made.mkdir()
    (made / "config.json").write_text('{"model_type": "llama"}')
    (made / "linked").symlink_to(tmp_path / "secret")
    os.mkfifo(made / "pipe")
    return made


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("location", WAYS)
def test_weights_that_lie_elsewhere_are_refused_before_onnx_runtime_opens_the_graph(
    folder: Path, place: Callable[[str], onnx.ModelProto], location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.InferenceSession", lambda *_, **__: pytest.fail("the graph was opened"))
    (folder / "model.onnx").write_bytes(place(location).SerializeToString())
    message = "outside its folder|is a link out|is not a file but a pipe|is missing"
    with pytest.raises(ModelError, match=message) as caught:
        open_model(f"onnx:{folder}", role="small", aliases={}, options=EngineOptions(threads=1))
    assert len(str(caught.value).splitlines()) == 1
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("place", PLACES)
def test_weights_beside_the_graph_are_found_and_are_part_of_the_digest(
    folder: Path, place: Callable[[str], onnx.ModelProto]
) -> None:
    (folder / "pipe").unlink()
    (folder / "weights").write_bytes(SECRET)
    (folder / "model.onnx").write_bytes(place("weights").SerializeToString())
    assert external_files(folder / "model.onnx") == ["weights"]
    assert graph_files(folder) == [folder / "model.onnx", folder / "weights"]
    before = folders_digest([folder], graphs=True)
    (folder / "weights").write_bytes(b"\1" * 64)
    assert folders_digest([folder], graphs=True) != before


def test_graphs_in_folders_of_the_folder_are_looked_at(folder: Path) -> None:
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(in_initializer("../secret").SerializeToString())
    with pytest.raises(ModelError, match="outside its folder"):
        graph_files(folder)


def test_a_graph_that_is_a_link_out(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.onnx").write_bytes(in_initializer("secret").SerializeToString())
    (folder / "model.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(ModelError, match=r"model\.onnx: is a link out of its folder"):
        graph_files(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x3a",
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\xff" * 20,
        b"\x3b" * 10,
        b"\x3a\x02\x0a\x7f",
    ],
)
def test_a_damaged_graph_is_one_line(folder: Path, content: bytes) -> None:
    (folder / "model.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.onnx: (is no ONNX graph|cannot be read)") as caught:
        graph_files(folder)
    assert len(str(caught.value).splitlines()) == 1


def test_graphs_nested_without_end_are_one_line(folder: Path) -> None:
    graph = b""
    for _ in range(5000):
        attribute = b"\x32" + _length(graph) + graph
        node = b"\x2a" + _length(attribute) + attribute
        graph = b"\x0a" + _length(node) + node
    (folder / "model.onnx").write_bytes(b"\x3a" + _length(graph) + graph)
    with pytest.raises(ModelError, match="graphs are nested too deeply"):
        graph_files(folder)


def test_what_onnx_finds_is_found(tiny_folder: Callable[..., Path], tmp_path: Path) -> None:
    from lmcot_export.onnx import export_onnx

    made = export_onnx(tiny_folder(), tmp_path / "exported")
    whole = onnx.load(made / "model.onnx")
    onnx.save_model(
        whole, made / "model.onnx", save_as_external_data=True, location="w.bin", size_threshold=0
    )
    assert external_files(made / "model.onnx") == ["w.bin"]
    spec = f"onnx:{made}"
    with open_model(spec, role="small", aliases={}, options=EngineOptions(threads=1)) as backend:
        before = backend.identity.digest
    moved = Path(shutil.copytree(made, tmp_path / "moved"))
    (moved / "w.bin").unlink()
    (moved / "w.bin").symlink_to(made / "w.bin")
    with pytest.raises(ModelError, match=r"w\.bin: is a link out of its folder"):
        open_model(f"onnx:{moved}", role="small", aliases={}, options=EngineOptions(threads=1))
    assert before is not None


def _length(content: bytes) -> bytes:
    number, written = len(content), bytearray()
    while number >= 0x80:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])
