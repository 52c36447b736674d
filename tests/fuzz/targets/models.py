"""Model files and folders, as far as they are read here."""

from __future__ import annotations

import json
import struct
from contextlib import suppress

from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama.header_checks import check_shape
from lmcot_cli.backends.llama.memory import memory_estimate
from lmcot_cli.backends.torch.tokenizing import is_quick
from lmcot_cli.errors import LmcotError
from lmcot_cli.model_files.gguf_header import read_header
from lmcot_cli.model_files.onnx_graphs import graph_files
from lmcot_cli.model_files.safetensors_header import StoredTensor, read_safetensors_header
from lmcot_cli.model_files.settings import check_adapter_config, check_config, check_tokenizer_config
from lmcot_cli.model_files.weights import indexed_files
from tests.fuzz.target import Target, folder_of

SAFETENSORS = json.dumps(
    {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
        "b": {"dtype": "BF16", "shape": [], "data_offsets": [16, 18]},
    }
).encode()
CONFIG = b"""{
"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 32, "num_hidden_layers": 2,
"vocab_size": 99, "attn_implementation": "eager", "rope_scaling": {"rope_type": "linear", "factor": 2.0},
"auto_map": {"AutoModel": "m.M"}
}"""
ADAPTER = b"""{
"peft_type": "LORA", "base_model_name_or_path": "b", "r": 8, "lora_alpha": 16, "rank_pattern": {"q.*": 4},
"target_modules": ["q_proj"]
}"""
INDEX = (
    b'{"metadata": {"total_size": 18}, "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "x.bin"}}'
)
TENSORS = {"model.layers.0.q_proj.lora_A.weight": StoredTensor("F32", (8, 32), 0, 1024)}
TOKENIZER = b"""{
"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}]}, "model": {"type": "BPE", "vocab": {"a": 0}},
"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "\\\\d"}, "behavior": "Isolated"}, "post_processor": null,
"decoder": {"type": "ByteLevel"}, "added_tokens": [{"id": 1, "content": "<s>", "special": true}]
}"""


def string(text: bytes) -> bytes:
    """Write a string as GGUF has it."""
    return struct.pack("<Q", len(text)) + text


def header() -> bytes:
    """Write the smallest GGUF file that has a value of each kind: what follows its magic."""
    pairs = [
        string(b"general.architecture") + struct.pack("<I", 8) + string(b"llama"),
        string(b"llama.block_count") + struct.pack("<II", 4, 1),
        string(b"llama.context_length") + struct.pack("<II", 4, 64),
        string(b"llama.embedding_length") + struct.pack("<II", 4, 32),
        string(b"llama.attention.head_count") + struct.pack("<II", 4, 2),
        string(b"llama.attention.layer_norm_rms_epsilon") + struct.pack("<If", 6, 1e-5),
        string(b"tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + string(b"a") + string(b"b"),
        string(b"tokenizer.ggml.scores") + struct.pack("<IIQ2f", 9, 6, 2, 0.0, 1.0),
    ]
    tensors = [
        string(b"token_embd.weight") + struct.pack("<IQQIQ", 2, 32, 2, 0, 0),
        string(b"blk.0.attn_q.weight") + struct.pack("<IQQIQ", 2, 32, 1, 8, 256),
    ]
    head = struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join(pairs + tensors)
    return head + bytes(-(len(head) + 4) % 32 + 256 + 34)


def gguf(data: bytes) -> None:
    """Read a GGUF file's header and what it says of memory."""
    with folder_of(m_gguf=b"GGUF" + data) as folder:
        path = folder / "m.gguf"
        check_shape(path, read_header(path))
        memory_estimate(path, EngineOptions(threads=1, parallel=1))


def safetensors(data: bytes) -> None:
    """Read the header of a safetensors file: its tensors lie within the file."""
    with folder_of(m_safetensors=data) as folder:
        for tensor in read_safetensors_header(folder / "m.safetensors").values():
            assert 0 < tensor.offset <= tensor.offset + tensor.size <= len(data)


def model_settings(data: bytes) -> None:
    """Read the settings and the index of a model's or an adapter's folder."""
    with folder_of(config_json=data, index_json=data) as folder:
        (folder / "tokenizer_config.json").write_bytes(data)
        (folder / "adapter_config.json").write_bytes(data)
        for read in (
            lambda: check_config(folder / "config.json", TENSORS),
            lambda: check_tokenizer_config(folder),
            lambda: check_adapter_config(folder / "adapter_config.json", TENSORS),
            lambda: [*map(str.strip, indexed_files(folder / "index.json"))],
        ):
            with suppress(LmcotError):
                read()


def onnx_graphs(data: bytes) -> None:
    """Read which files a graph names; each lies beside it."""
    with folder_of(model_onnx=data, w_bin=b"w") as folder:
        assert all(path.parent == folder for path in graph_files(folder))


def tokenizers(data: bytes) -> None:
    """Judge whether the parts of a tokenizer are known to be quick."""
    with suppress(ValueError, RecursionError):
        is_quick(json.loads(data))


def field(number: int, content: bytes) -> bytes:
    """Write a field of a protobuf message."""
    return bytes([number << 3 & 127 | 2 | (128 if number > 15 else 0), *([number >> 4] if number > 15 else []),
                  len(content)]) + content  # fmt: skip


ENTRY = field(1, b"location") + field(2, b"w.bin")
GRAPH = field(7, field(5, field(13, ENTRY) + b"\x70\x01") + field(1, field(5, field(5, b"\x10\x01"))))

TARGETS = {
    "gguf": Target(gguf, (header(), b"\x03\0\0\0"), widens=False),
    "safetensors": Target(safetensors, (struct.pack("<Q", len(SAFETENSORS)) + SAFETENSORS + bytes(18),)),
    "model_settings": Target(model_settings, (CONFIG, ADAPTER, INDEX)),
    "onnx_graphs": Target(onnx_graphs, (GRAPH,)),
    "tokenizers": Target(tokenizers, (TOKENIZER,)),
}
