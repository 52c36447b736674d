"""Model files and folders, as far as they are read here."""

from __future__ import annotations

import struct

from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama.gguf_header import read_header
from lmcot_cli.backends.llama.header_checks import check_shape
from lmcot_cli.backends.llama.memory import memory_estimate
from tests.fuzz.target import Target, folder_of


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


TARGETS = {"gguf": Target(gguf, (header(), b"\x03\0\0\0"), widens=False)}
