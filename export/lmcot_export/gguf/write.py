"""Write a Hugging Face model as a GGUF file that llama.cpp runs."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf

from lmcot_cli.errors import ModelError
from lmcot_cli.files import read_object, replacing
from lmcot_export.gguf.config import ModelConfig
from lmcot_export.gguf.families import Family, family_of
from lmcot_export.gguf.pretokenizer import (
    TokenizerGuess,
    add_special_tokens,
    add_vocabulary,
    find_candidate,
    vocabulary_file,
)
from lmcot_export.gguf.tensors import FileType, add_tensors
from lmcot_export.gguf.tokenizer import HuggingFaceTokenizer, Token
from lmcot_export.weights import SafetensorsFolder

_FILE_TYPES = {
    "f32": gguf.LlamaFileType.ALL_F32,
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "bf16": gguf.LlamaFileType.MOSTLY_BF16,
}


@dataclass(frozen=True, slots=True)
class PreparedModel:
    """What the files of one model share, found out once.

    Attributes:
        config: Its settings.
        family: How its architecture is written.
        tokenizer: As transformers loads it.
        tokens: Its vocabulary, one entry for each row of the embeddings.
        candidate: How llama.cpp tokenizes as the tokenizer does.
        extra_ends: Tokens that end a text according to `generation_config.json` but not by llama.cpp's own rules.
    """

    config: ModelConfig
    family: Family
    tokenizer: HuggingFaceTokenizer
    tokens: list[Token]
    candidate: TokenizerGuess
    extra_ends: tuple[int, ...]


def prepare(folder: Path) -> PreparedModel:
    """Check that a model can be written, and find its pre-tokenizer.

    Raises:
        ModelError: The model cannot be written; the message says why and what can be done.
    """
    config = ModelConfig(folder)
    family = family_of(config)
    tokenizer = HuggingFaceTokenizer(folder)
    tokens = tokenizer.tokens(config.integer("vocab_size"))
    candidate = find_candidate(tokenizer, tokens)
    return PreparedModel(
        config, family, tokenizer, tokens, candidate, _extra_ends(tokenizer, tokens, candidate)
    )


def write_gguf(
    folder: Path,
    path: Path,
    type: FileType,
    *,
    name: str | None = None,
    prepared: PreparedModel | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> Path:
    """Write a model's folder as one GGUF file; memory holds one tensor at most.

    Args:
        folder: `config.json`, `*.safetensors` and tokenizer files.
        path: The file, replaced when it is complete.
        type: How matrices are stored.
        name: What the file calls the model; the folder's name where not given.
        prepared: What `prepare` found, where it has run before.
        advance: Called with the bytes of each part written.

    Returns:
        `path`.

    Raises:
        ModelError: The model cannot be written.
        OutputError: The file cannot be written.
    """
    prepared = prepared or prepare(folder)
    weights = SafetensorsFolder(folder)
    with replacing(path) as temporary:
        writer = gguf.GGUFWriter(temporary, gguf.MODEL_ARCH_NAMES[prepared.family.architecture])
        try:
            add_tensors(writer, weights, prepared.config, prepared.family, type, advance)
            _add_general(writer, folder, name or folder.resolve().name)
            prepared.family.describe(writer, prepared.config)
            writer.add_file_type(_FILE_TYPES[type])
            writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
            _add_tokenizer(writer, prepared)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        except (struct.error, OverflowError) as error:
            raise ModelError(
                f"{folder}: config.json or generation_config.json has a value that no GGUF file can hold ({error});"
                " mend it"
            ) from error
        finally:
            writer.close()
    return path


def _add_general(writer: gguf.GGUFWriter, folder: Path, name: str) -> None:
    """Write name, size, licence and generation defaults, as far as the folder states them."""
    total, shared, expert, experts = writer.get_total_parameter_count()
    metadata = gguf.Metadata.load(None, folder, name, total)
    metadata.size_label = metadata.size_label or gguf.size_label(total, shared, expert, experts)
    writer.add_type(gguf.GGUFType.MODEL)
    metadata.set_gguf_meta_model(writer)


def _add_tokenizer(writer: gguf.GGUFWriter, prepared: PreparedModel) -> None:
    tokenizer = prepared.tokenizer
    add_vocabulary(writer, tokenizer, prepared.tokens, prepared.candidate)
    add_special_tokens(writer, tokenizer.special_ids(prepared.config), len(prepared.tokens))
    for add_end, id in zip(
        (writer.add_eot_token_id, writer.add_eom_token_id), prepared.extra_ends, strict=False
    ):
        add_end(id)
    writer.add_add_bos_token(tokenizer.adds("bos"))
    writer.add_add_eos_token(tokenizer.adds("eos"))
    if tokenizer.chat_template is not None:
        writer.add_chat_template(tokenizer.chat_template)


def _extra_ends(
    tokenizer: HuggingFaceTokenizer, tokens: list[Token], candidate: TokenizerGuess
) -> tuple[int, ...]:
    """Return ends of text that llama.cpp would not find by itself; a file has room for two."""
    ends = _generation_ends(tokenizer.folder)
    with vocabulary_file(tokenizer, tokens, candidate) as vocabulary:
        eos = tokenizer.special_ids({}).get("eos")
        extra = tuple(id for id in ends if id != eos and not vocabulary.ends_text(id))
    if len(extra) > 2:
        raise ModelError(
            f"{tokenizer.folder}: generation_config.json names {len(ends)} tokens that end a text; a GGUF file has room"
            " for three: leave out those the model does not write"
        )
    return extra


def _generation_ends(folder: Path) -> list[int]:
    path = folder / "generation_config.json"
    if not path.is_file():
        return []
    ends: Any = read_object(path).get("eos_token_id") or []
    ids = [ends] if isinstance(ends, int) else ends
    if not isinstance(ids, list) or not all(isinstance(id, int) for id in ids):
        raise ModelError(
            f"{path}: eos_token_id is {ends!r}, but must be a token's id or a list of them; mend it"
        )
    return ids
