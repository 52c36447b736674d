"""Small Llama-shaped GGUF files with random weights: real models for the tests, written in milliseconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL_TOKENS = ("<|bos|>", "<|im_end|>", "<|im_start|>")
MERGES = (
    "h e",
    "t h",
    "i n",
    "o r",
    "th e",
    "Ġ a",
    "Ġ t",
    "Ġ the",
    "Ġt he",
    "e r",
    "a n",
    "Ġ w",
    "an d",
    "Ã ©",
)

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TinyLlama:
    """Shape and settings of a random model; the defaults give about 1.2 million parameters."""

    width: int = 192
    layers: int = 3
    heads: int = 6
    kv_heads: int = 2
    feed_forward: int = 512
    context: int = 512
    chat: bool = False
    template: str = CHAT_TEMPLATE
    add_bos: bool = True
    add_eos: bool = False
    causal: bool = True
    seed: int = 0

    @property
    def head_width(self) -> int:
        return self.width // self.heads


def byte_symbols() -> list[str]:
    """The 256 printable characters that stand for bytes in GPT-2's byte-level BPE, in byte order."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    hidden = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(hidden)) for byte in range(256)]


def vocabulary() -> tuple[list[str], list[int]]:
    """Token texts and their GGUF types; the last ones are the control tokens."""
    merged = [merge.replace(" ", "") for merge in MERGES]
    texts = list(dict.fromkeys([*byte_symbols(), *merged]))
    types = [int(gguf.TokenType.NORMAL)] * len(texts) + [int(gguf.TokenType.CONTROL)] * len(SPECIAL_TOKENS)
    return [*texts, *SPECIAL_TOKENS], types


def write_tiny_gguf(path: Path, shape: TinyLlama | None = None) -> Path:
    """Write the model to `path` and return it."""
    shape = shape or TinyLlama()
    writer = gguf.GGUFWriter(path, "llama")
    _write_hyperparameters(writer, shape)
    tokens = write_tokenizer(writer, shape)
    for name, tensor in _tensors(shape, tokens).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _write_hyperparameters(writer: gguf.GGUFWriter, shape: TinyLlama) -> None:
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    if not shape.causal:
        writer.add_causal_attention(False)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)


def write_tokenizer(writer: gguf.GGUFWriter, shape: TinyLlama) -> int:
    """Write the vocabulary and return its size."""
    texts, types = vocabulary()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(texts)
    writer.add_token_types(types)
    writer.add_token_merges(list(MERGES))
    writer.add_bos_token_id(texts.index("<|bos|>"))
    writer.add_eos_token_id(texts.index("<|im_end|>"))
    writer.add_add_bos_token(shape.add_bos)
    writer.add_add_eos_token(shape.add_eos)
    if shape.chat:
        writer.add_chat_template(shape.template)
    return len(texts)


def _tensors(shape: TinyLlama, tokens: int) -> dict[str, Float32]:
    random = np.random.default_rng(shape.seed)

    def matrix(rows: int, columns: int, gain: float = 1.0) -> Float32:
        return (random.standard_normal((rows, columns)) * gain / np.sqrt(columns)).astype(np.float32)

    ones = np.ones(shape.width, np.float32)
    kv_width = shape.kv_heads * shape.head_width
    # A gain of 3 on the output gives logits with clear winners: greedy choices do not hang on rounding.
    tensors = {
        "token_embd.weight": matrix(tokens, shape.width, gain=10.0),
        "output_norm.weight": ones,
        "output.weight": matrix(tokens, shape.width, gain=3.0),
    }
    for layer in range(shape.layers):
        tensors |= {
            f"blk.{layer}.attn_norm.weight": ones,
            f"blk.{layer}.attn_q.weight": matrix(shape.width, shape.width, gain=2.0),
            f"blk.{layer}.attn_k.weight": matrix(kv_width, shape.width, gain=2.0),
            f"blk.{layer}.attn_v.weight": matrix(kv_width, shape.width, gain=2.0),
            f"blk.{layer}.attn_output.weight": matrix(shape.width, shape.width, gain=2.0),
            f"blk.{layer}.ffn_norm.weight": ones,
            f"blk.{layer}.ffn_gate.weight": matrix(shape.feed_forward, shape.width, gain=2.0),
            f"blk.{layer}.ffn_up.weight": matrix(shape.feed_forward, shape.width, gain=2.0),
            f"blk.{layer}.ffn_down.weight": matrix(shape.width, shape.feed_forward, gain=2.0),
        }
    return tensors
