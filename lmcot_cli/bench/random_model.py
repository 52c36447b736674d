"""Write a GGUF file with random weights that takes as long as a trained model of its shape, and samples like one.

Speed does not depend on what weights say, except in sampling: tokens of equal probability would make it sort the
whole vocabulary. The weights are scaled so that logits have a standard deviation of `LOGIT_SPREAD`, which gives
next-token distributions about as peaked as those of trained models.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from itertools import islice, product
from pathlib import Path
from string import ascii_lowercase
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from lmcot_cli.bench.shapes import SHAPES, Shape, ShapeName
from lmcot_cli.errors import MissingExtraError
from lmcot_cli.files import cannot_write

VERSION = 1
"""Part of the file name; raise it when the weights or the tokenizer change."""

LOGIT_SPREAD = 4.0
"""With normal logits and n tokens the entropy is ln n - spread^2 / 2: 2.8 nats for 49,152, 3.9 for 151,936."""

END_OF_TEXT = "<|endoftext|>"
SPACE = "Ġ"  # how GPT-2's byte-level BPE writes a space

Weight = npt.NDArray[np.float16] | npt.NDArray[np.float32]


def write_random_model(path: Path, shape: Shape, seed: int = 0) -> None:
    """Write a model with float16 matrices; the same shape and seed give the same file.

    Weights are made and written one at a time, so memory holds the largest only.
    """
    import gguf

    writer = gguf.GGUFWriter(path, shape.architecture)
    _add_header(writer, shape)
    _add_tokenizer(writer, shape.vocabulary)
    sizes = dict(_sizes(shape))
    for name, size in sizes.items():
        kind = np.dtype(np.float16 if len(size) == 2 else np.float32)
        writer.add_tensor_info(name, size, kind, int(np.prod(size)) * kind.itemsize)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    random = np.random.default_rng(seed)
    for name, size in sizes.items():
        writer.write_tensor_data(_weight(name, size, random))
    writer.close()


def _add_header(writer: Any, shape: Shape) -> None:
    import gguf

    writer.add_name(f"random weights in the shape of {shape.model}")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)


def _add_tokenizer(writer: Any, size: int) -> None:
    """Add a byte-level BPE vocabulary of exactly that size, whose last token ends the text."""
    import gguf

    merges = list(islice(_merges(), size - 256 - 1))
    tokens = [*_byte_symbols(), *("".join(merge) for merge in merges), END_OF_TEXT]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * (size - 1) + [gguf.TokenType.CONTROL])
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_bos_token_id(size - 1)
    writer.add_eos_token_id(size - 1)
    writer.add_add_bos_token(False)


def _merges() -> Iterator[tuple[str, str]]:
    """Yield merges to all pairs of letters, words of one letter, then of three, then runs of four letters."""
    pairs = ["".join(pair) for pair in product(ascii_lowercase, repeat=2)]
    starts = [SPACE + letter for letter in ascii_lowercase]
    yield from ((pair[0], pair[1]) for pair in [*pairs, *starts])
    yield from product(starts, pairs)
    yield from product(pairs, pairs)


def _byte_symbols() -> list[str]:
    """Return the printable characters that stand for the 256 bytes in GPT-2's vocabulary, in byte order."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    hidden = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(hidden)) for byte in range(256)]


def _sizes(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield every tensor's name and size; matrices are [outputs, inputs]."""
    key_width = shape.width // shape.heads * shape.kv_heads
    yield "token_embd.weight", (shape.vocabulary, shape.width)
    for layer in range(shape.layers):
        for name, outputs in (("q", shape.width), ("k", key_width), ("v", key_width)):
            yield f"blk.{layer}.attn_{name}.weight", (outputs, shape.width)
            if shape.architecture == "qwen2":
                yield f"blk.{layer}.attn_{name}.bias", (outputs,)
        yield f"blk.{layer}.attn_output.weight", (shape.width, shape.width)
        for name in ("gate", "up"):
            yield f"blk.{layer}.ffn_{name}.weight", (shape.feed_forward, shape.width)
        yield f"blk.{layer}.ffn_down.weight", (shape.width, shape.feed_forward)
        for name in ("attn", "ffn"):
            yield f"blk.{layer}.{name}_norm.weight", (shape.width,)
    yield "output_norm.weight", (shape.width,)


def _weight(name: str, size: tuple[int, ...], random: np.random.Generator) -> Weight:
    """Make one tensor: matrices keep the scale of what goes through them, norms and biases do nothing."""
    if name == "output_norm.weight":
        return np.full(size, LOGIT_SPREAD, np.float32)
    if len(size) == 1:
        return np.full(size, 0 if name.endswith("bias") else 1, np.float32)
    weight = random.standard_normal(size, np.float32) / np.float32(size[1] ** 0.5)
    return weight.astype(np.float16)


def random_model(name: ShapeName, quantization: str, folder: Path | None = None) -> Path:
    """Return a GGUF file of that shape, made now if it is not there yet.

    Args:
        name: The shape.
        quantization: The type of its weights.
        folder: Where such files are kept; the user's cache folder where not given.

    Raises:
        MissingExtraError: The `gguf` package is not installed.
        OutputError: The file cannot be written.
        ModelError: llama.cpp cannot quantize it.
    """
    folder = folder or _cache()
    path = folder / f"random-{name}-{quantization}-v{VERSION}.gguf"
    if not path.exists():
        if find_spec("gguf") is None:
            raise MissingExtraError("lmcot bench --shape", "export")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _make(SHAPES[name], quantization, path)
        except OSError as error:
            raise cannot_write(path, error) from error
    return path


def _make(shape: Shape, quantization: str, path: Path) -> None:
    """Write the model beside its place and move it there when it is whole."""
    with TemporaryDirectory(dir=path.parent, prefix="writing-") as place:
        made = Path(place, "f16.gguf")
        write_random_model(made, shape)
        if quantization != "f16":
            from lmcot_export.quantize import quantize

            made = quantize(made, Path(place, "quantized.gguf"), quantization)
        made.replace(path)


def _cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("lmcot") / "bench"
