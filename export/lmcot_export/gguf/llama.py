"""Write a Llama-shape model as GGUF.

Tensor names come from the `gguf` package's map; what is ours is the order of the rows of the query and key projections:
transformers rotates the two halves of a head, llama.cpp neighbouring pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class LlamaHeader:
    """What a GGUF file of the `llama` architecture says of its network."""

    name: str
    context: int
    width: int
    layers: int
    heads: int
    feed_forward: int
    rope_base: float
    norm_epsilon: float


@dataclass(frozen=True, slots=True)
class BytePairTokenizer:
    """A byte-level BPE tokenizer as GGUF stores it; `special` holds the ids of control tokens."""

    tokens: Sequence[str]
    merges: Sequence[str]
    bos: int
    eos: int
    special: frozenset[int]


def write_llama(
    path: Path, header: LlamaHeader, tokenizer: BytePairTokenizer, weights: Mapping[str, NDArray[np.float32]]
) -> None:
    """Write float32 weights, named as transformers names them; without `lm_head.weight` embeddings are tied.

    Args:
        path: The GGUF file, replaced if it exists.
        header: The network's sizes.
        tokenizer: The vocabulary, with the pre-tokenizer of GPT-2.
        weights: Matrices [outputs, inputs] and norm vectors [width].

    Raises:
        KeyError: A weight's name is not one of the Llama architecture's.
    """
    writer = gguf.GGUFWriter(path, "llama")
    _add_header(writer, header, len(tokenizer.tokens))
    _add_tokenizer(writer, tokenizer)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, header.layers)
    for name, weight in weights.items():
        target = names.get_name(name, try_suffixes=(".weight",))
        if target is None:
            raise KeyError(name)
        rotated = name.endswith(("q_proj.weight", "k_proj.weight"))
        writer.add_tensor(
            target, np.ascontiguousarray(_interleave(weight, header.heads) if rotated else weight)
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_header(writer: gguf.GGUFWriter, header: LlamaHeader, vocabulary: int) -> None:
    writer.add_name(header.name)
    writer.add_context_length(header.context)
    writer.add_embedding_length(header.width)
    writer.add_block_count(header.layers)
    writer.add_head_count(header.heads)
    writer.add_head_count_kv(header.heads)
    writer.add_feed_forward_length(header.feed_forward)
    writer.add_rope_freq_base(header.rope_base)
    writer.add_rope_dimension_count(header.width // header.heads)
    writer.add_layer_norm_rms_eps(header.norm_epsilon)
    writer.add_vocab_size(vocabulary)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: BytePairTokenizer) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(list(tokenizer.tokens))
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_token_types(
        [control if i in tokenizer.special else normal for i in range(len(tokenizer.tokens))]
    )
    writer.add_token_merges(list(tokenizer.merges))
    writer.add_bos_token_id(tokenizer.bos)
    writer.add_eos_token_id(tokenizer.eos)
    writer.add_add_bos_token(True)


def _interleave(weight: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Reorder rows [heads * 2 * half, inputs] from halves to neighbouring pairs."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)
