"""Find how llama.cpp has to cut text so that it gives the tokenizer's own ids: by trying, never by guessing.

For each candidate a GGUF file with the vocabulary alone is written and loaded by llama.cpp itself; the first whose ids
equal those of transformers on every probe text is taken. The texts are many scripts, numbers, white space and code, and
tokens of the vocabulary itself in several surroundings: rules that tell no two tokens apart may stand for each other.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import gguf

from lmcot_cli.backends.llama.library import first_error, forget_errors, llama
from lmcot_cli.errors import ModelError
from lmcot_export.gguf.probe_texts import probe_texts, surrounded
from lmcot_export.gguf.tokenizer import HuggingFaceTokenizer, Kind, Token


@dataclass(frozen=True, slots=True)
class TokenizerGuess:
    """A way in which llama.cpp can tokenize.

    Attributes:
        model: `tokenizer.ggml.model`: `gpt2` (byte-level BPE), `llama` (SentencePiece BPE) or `t5` (unigram).
        pre: `tokenizer.ggml.pre`, the rules that cut text before BPE.
        space_prefix: Whether a space is put in front; None leaves it to llama.cpp.
        merge_spaces: Whether runs of spaces count as one (unigram only).
    """

    model: str
    pre: str = "default"
    space_prefix: bool | None = None
    merge_spaces: bool | None = None


# Every set of rules llama.cpp knows, once (several names share their rules); of alike ones those that cut finest come
# first: where they agree with the tokenizer, coarser ones would too, and the other way round it shows.
_BYTE_LEVEL = (
    "smollm", "gpt-2", "qwen2", "llama-bpe", "dbrx", "starcoder", "tekken", "gpt-4o", "deepseek-llm", "deepseek-coder",
    "deepseek-v3", "qwen35", "falcon", "jais2", "bloom", "viking", "bailingmoe", "seed-coder", "superbpe", "exaone-moe",
    "minicpm5", "youtu", "kimi-k2", "afmoe", "laguna", "ufakzeka", "tiny_aya", "granite-embed-multi-97m", "default",
)  # fmt: skip
CANDIDATES: dict[Kind, tuple[TokenizerGuess, ...]] = {
    "byte-level BPE": tuple(TokenizerGuess("gpt2", pre) for pre in _BYTE_LEVEL),
    "SentencePiece BPE": (
        TokenizerGuess("llama", space_prefix=True),
        TokenizerGuess("llama", space_prefix=False),
    ),
    "SentencePiece unigram": tuple(
        TokenizerGuess("t5", space_prefix=prefix, merge_spaces=merge)
        for prefix in (True, False)
        for merge in (True, False)
    ),
}


class VocabularyFile:
    """The vocabulary of a GGUF file, loaded by llama.cpp without weights.

    Raises:
        ModelError: llama.cpp cannot load it.
    """

    def __init__(self, path: Path) -> None:
        api = llama()
        forget_errors()
        parameters = api.llama_model_default_params()
        parameters.vocab_only = True
        self._model = api.llama_model_load_from_file(str(path).encode(), parameters)
        if not self._model:
            raise ModelError(f"llama.cpp cannot load the vocabulary: {first_error()}")
        self._vocabulary = api.llama_model_get_vocab(self._model)

    def encode(self, text: str) -> list[int]:
        """Return llama.cpp's token ids, nothing added; like transformers, it takes `</s>` for the token."""
        api, raw = llama(), text.encode()
        room = 2 * len(raw) + 8
        ids = (api.llama_token * room)()
        count = api.llama_tokenize(self._vocabulary, raw, len(raw), ids, room, False, True)
        if count < 0:
            raise ModelError(f"llama.cpp cannot tokenize a text of {len(raw)} bytes")
        return list(ids[:count])

    def ends_text(self, token: int) -> bool:
        """Whether llama.cpp stops at a token."""
        return bool(llama().llama_vocab_is_eog(self._vocabulary, token))

    def close(self) -> None:
        """Free the vocabulary."""
        llama().llama_model_free(self._model)


def find_candidate(tokenizer: HuggingFaceTokenizer, tokens: Sequence[Token]) -> TokenizerGuess:
    """Return the first candidate that agrees with transformers on all probe texts.

    Raises:
        ModelError: None agrees; the message shows a text on which the nearest one differs.
    """
    spelled = tokenizer.spellings()
    texts = [tokenizer.normalized(text) for text in (*probe_texts(), *surrounded(spelled))]
    wanted = [tokenizer.encode(text) for text in texts]
    nearest, fewest = "", len(texts) + 1
    for candidate in CANDIDATES[tokenizer.kind]:
        with vocabulary_file(tokenizer, tokens, candidate) as vocabulary:
            wrong = [text for text, ids in zip(texts, wanted, strict=True) if vocabulary.encode(text) != ids]
        if not wrong:
            return candidate
        if len(wrong) < fewest:
            nearest, fewest = f"{candidate.pre} differs on {min(wrong, key=len)!r}", len(wrong)
    raise ModelError(
        f"{tokenizer.folder}: llama.cpp has no rules that tokenize as this {tokenizer.kind} tokenizer does (nearest:"
        f" {nearest}, {fewest} of {len(texts)} probe texts); run it with the transformers backend instead"
    )


def add_vocabulary(
    writer: gguf.GGUFWriter,
    tokenizer: HuggingFaceTokenizer,
    tokens: Sequence[Token],
    candidate: TokenizerGuess,
) -> None:
    """Write the vocabulary and how text is cut."""
    writer.add_tokenizer_model(candidate.model)
    writer.add_tokenizer_pre(candidate.pre)
    writer.add_token_list([token.text for token in tokens])
    writer.add_token_types([token.type for token in tokens])
    if tokenizer.kind == "byte-level BPE":
        writer.add_token_merges(tokenizer.merges())
    else:
        writer.add_token_scores([token.score for token in tokens])
    if candidate.space_prefix is not None:
        writer.add_add_space_prefix(candidate.space_prefix)
    if candidate.merge_spaces is not None:
        writer.add_remove_extra_whitespaces(candidate.merge_spaces)
    if candidate.model == "t5" and (rules := tokenizer.character_map()):
        writer.add_precompiled_charsmap(rules)


def add_special_tokens(writer: gguf.GGUFWriter, ids: Mapping[str, int], size: int) -> None:
    """Write the ids of special tokens by role, as far as GGUF has a key for the role."""
    for role, id in ids.items():
        add = getattr(writer, f"add_{role}_token_id", None)
        if add is not None and id < size:
            add(id)


@contextmanager
def vocabulary_file(
    tokenizer: HuggingFaceTokenizer, tokens: Sequence[Token], candidate: TokenizerGuess
) -> Iterator[VocabularyFile]:
    """Load a vocabulary, tokenizing as the candidate says, into llama.cpp."""
    with tempfile.TemporaryDirectory(prefix="lmcot-") as folder:
        path = Path(folder) / "vocabulary.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        _describe_nothing(writer)
        add_vocabulary(writer, tokenizer, tokens, candidate)
        add_special_tokens(writer, tokenizer.special_ids({}), len(tokens))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        vocabulary = VocabularyFile(path)
        try:
            yield vocabulary
        finally:
            vocabulary.close()


def _describe_nothing(writer: gguf.GGUFWriter) -> None:
    """Write hyperparameters of a network that is never built; llama.cpp wants them even for a vocabulary."""
    writer.add_context_length(1)
    writer.add_embedding_length(1)
    writer.add_block_count(1)
    writer.add_feed_forward_length(1)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
