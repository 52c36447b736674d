"""Models of well-known shapes with random weights, made once and kept in the user's cache folder."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from lmcot_cli.errors import MissingExtraError, OutputError

VERSION = 1
"""Part of the file name; raise it when the weights or the tokenizer change."""

ShapeName = Literal["135m", "360m", "500m"]


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a decoder-only network with tied embeddings.

    Attributes:
        model: The published model that has this shape.
        architecture: llama.cpp's name of the family; `qwen2` has biases on queries, keys and values.
        width, feed_forward: Of a layer.
        heads, kv_heads: Of its attention.
        vocabulary: Tokens.
        context: Tokens it is said to have been trained with.
        rope_base, norm_epsilon: Of the positions and the normalisation.
    """

    model: str
    architecture: Literal["llama", "qwen2"]
    layers: int
    width: int
    feed_forward: int
    heads: int
    kv_heads: int
    vocabulary: int
    context: int
    rope_base: float
    norm_epsilon: float


SHAPES: dict[ShapeName, Shape] = {
    "135m": Shape("SmolLM2-135M", "llama", 30, 576, 1536, 9, 3, 49_152, 8_192, 1e5, 1e-5),
    "360m": Shape("SmolLM2-360M", "llama", 32, 960, 2560, 15, 5, 49_152, 8_192, 1e5, 1e-5),
    "500m": Shape("Qwen2.5-0.5B", "qwen2", 24, 896, 4864, 14, 2, 151_936, 32_768, 1e6, 1e-6),
}
"""As in the models' own config.json."""


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
            raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    return path


def _make(shape: Shape, quantization: str, path: Path) -> None:
    """Write the model beside its place and move it there when it is whole."""
    from tempfile import TemporaryDirectory

    from lmcot_cli.bench.random_model import write_random_model

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
