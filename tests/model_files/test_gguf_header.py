"""The GGUF header reader, against files written by the `gguf` package and against damaged ones."""

from __future__ import annotations

import os
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmcot_cli.errors import ModelError
from lmcot_cli.model_files.gguf_header import TENSOR_TYPES, read_header


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("Tiny")
    writer.add_context_length(512)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(["a", "é", "<|end|>"])
    writer.add_token_scores([0.0, -1.5, 2.0])
    writer.add_chat_template("{{ messages }}")
    weights = gguf.quants.quantize(np.ones((3, 64), np.float32), gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("a.weight", weights, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("b.weight", np.ones(5, np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.gguf")
    with pytest.raises(ModelError, match="is not a file but a pipe or a device"):
        read_header(tmp_path / "model.gguf")


def test_it_reads_what_the_writer_wrote(model: Path) -> None:
    header = read_header(model)
    assert (header.architecture, header.name, header.context_length) == ("llama", "Tiny", 512)
    assert (header.quantization, header.tokenizer, header.vocabulary_size) == ("Q8_0", "gpt2/smollm", 3)
    assert header.chat_template == "{{ messages }}"
    assert header.parameters == 3 * 64 + 5
    assert header.metadata["tokenizer.ggml.tokens"] == ["a", "é", "<|end|>"]
    assert header.metadata["tokenizer.ggml.scores"] == [0.0, -1.5, 2.0]
    assert [(tensor.name, tensor.shape, tensor.size) for tensor in header.tensors] == [
        ("a.weight", (64, 3), 3 * 2 * 34),
        ("b.weight", (5,), 10),
    ]


def test_tensor_types_are_those_of_the_gguf_package() -> None:
    known = {int(kind): (kind.name, *gguf.GGML_QUANT_SIZES[kind]) for kind in gguf.GGML_QUANT_SIZES}
    assert {number: tuple(kind) for number, kind in TENSOR_TYPES.items() if number in known} == {
        number: known[number] for number in TENSOR_TYPES if number in known
    }
    assert set(known) <= set(TENSOR_TYPES)


def test_every_truncation_is_noticed(model: Path, tmp_path: Path) -> None:
    whole = model.read_bytes()
    cut = tmp_path / "cut.gguf"
    padding = 32 - 10  # after the last tensor's 10 bytes
    for size in [*range(4, len(whole) - padding, 7), len(whole) - padding - 1]:
        cut.write_bytes(whole[:size])
        with pytest.raises(ModelError, match="truncated"):
            read_header(cut)
    cut.write_bytes(whole[: len(whole) - padding])
    assert read_header(cut).parameters == 3 * 64 + 5


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a GGUF file"),
        (b"GGML....", "not a GGUF file"),
        (b"GGUF" + (1).to_bytes(4, "little") + bytes(16), "version 1 is not supported"),
        (b"GGUF" + (3).to_bytes(4, "little") + bytes(16), r"no general\.architecture"),
        (b"GGUF" + (3).to_bytes(4, "little") + b"\xff" * 16, "a count of"),
    ],
)
def test_what_is_no_model_says_why(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "file.gguf"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=said):
        read_header(file)


def test_a_folder_and_a_missing_file_are_errors(tmp_path: Path) -> None:
    for path, said in ((tmp_path, "is a folder"), (tmp_path / "none.gguf", "no such model file")):
        with pytest.raises(ModelError, match=said):
            read_header(path)


@settings(max_examples=300, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_mutated_header_is_read_or_refused(
    model: Path, tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    content = bytearray(model.read_bytes())
    for place, value in changes:
        content[place % len(content)] = value
    file = tmp_path_factory.getbasetemp() / "mutated.gguf"
    file.write_bytes(content)
    try:
        header = read_header(file)
    except ModelError:
        return
    assert header.parameters >= 0
    assert isinstance(header.quantization, str)
