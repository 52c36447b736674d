"""Run the tokenizer of a folder under limits, unless all its parts are known to be quick on any text.

Any other tokenizer, such as one with a regular expression of its own, runs in the fenced process for every text: a
pattern can be quick on every text that one tries, and take for ever on the next.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmcot_cli.backends.torch.template_file import read_bounded
from lmcot_cli.errors import ModelError, RowError
from lmcot_cli.fence.limits import MIB, ExceededError, FaultError, Limits
from lmcot_cli.fence.process import FencedJob

FILE = "tokenizer.json"
MOST_BYTES = 2**27
_MOST_AROUND = 10_000
_LIMITS = Limits(seconds=4, wall_seconds=30, memory=1024 * MIB, seconds_per_mib=1, memory_per_byte=16)

_QUICK_PARTS = frozenset({
    "BertNormalizer", "BertPreTokenizer", "ByteLevel", "CharDelimiterSplit", "Digits", "Lowercase", "Metaspace", "NFC",
    "NFD", "NFKC", "NFKD", "Nmt", "Punctuation", "Sequence", "Strip", "StripAccents", "UnicodeScripts", "Whitespace",
    "WhitespaceSplit",
})  # fmt: skip
"""Normalizers and pre-tokenizers without a pattern of their own; their time is proportional to the text."""

_WORDS = r"|[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_QUICK_PATTERNS = frozenset({
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",  # GPT-2
    rf"(?i:'s|'t|'re|'ve|'m|'ll|'d){_WORDS}|\p{{N}}{{1,3}}{_REST}",  # Llama 3
    rf"(?i:'s|'t|'re|'ve|'m|'ll|'d){_WORDS}|\p{{N}}{_REST}",  # Qwen 2 and 3
    r"\p{N}{1,3}", r"\p{N}", r"\d", r"\d{1,3}", r"[0-9]", r" {2,}", r"\s+", r"\n", r"[\r\n]",
})  # fmt: skip


_RUNS = (*" aA0.\n\t_'\u00e9\u732b", "a ", "0.", "a, ", "-- ")


class Tokenizing:
    """A tokenizer in the fenced process.

    Args:
        path: Its `tokenizer.json`.
        text: The content of that file, if it was read already.
    """

    def __init__(self, path: str | None = None, text: str | None = None) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(path) if path else Tokenizer.from_str(text)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def ids(self, text: str, special: bool, split: bool) -> list[int]:
        """Tokenize a text; see `FencedTokenizer.ids`."""
        self._tokenizer.encode_special_tokens = split
        return list(self._tokenizer.encode(text, add_special_tokens=special).ids)

    def try_out(self) -> None:
        """Tokenize texts that are slow for a careless pattern: long runs of one kind of character, with an end."""
        for run in _RUNS:
            self.ids(run * (8192 // len(run)) + "!", True, False)


class FencedTokenizer:
    """A tokenizer that runs in the fenced process, within limits for every text."""

    def __init__(self, tokenizer: Any) -> None:
        self._job = FencedJob("tokenizer", {"text": tokenizer.backend_tokenizer.to_str()}, _LIMITS)

    def ids(self, text: str, *, special: bool, split: bool) -> list[int]:
        """Tokenize a text.

        Args:
            text: The text.
            special: Whether to add the tokens that the tokenizer puts around a text.
            split: Whether to read control tokens as the characters they are.

        Raises:
            RowError: It takes too long or too much memory, or fails.
        """
        try:
            return list(self._job.call("ids", text=text, special=special, split=split))
        except (ExceededError, FaultError) as error:
            said = str(error) if isinstance(error, ExceededError) else f"fails ({error})"
            raise RowError(
                f"the model's tokenizer cannot read this prompt of {len(text):,} characters: it {said}"
            ) from error


def try_tokenizer(folder: Path) -> None:
    """Load and try a folder's tokenizer in the fenced process, unless all its parts are known to be quick.

    Raises:
        ModelError: It breaks the limits or fails, or its file cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        return
    try:
        if is_quick(json.loads(read_bounded(path, MOST_BYTES))):
            return
    except (ValueError, RecursionError):  # transformers explains it
        return
    try:
        FencedJob("tokenizer", {"path": str(path)}, _LIMITS.beside(path.stat().st_size)).call("try_out")
    except ExceededError as error:
        raise ModelError(f"{folder}: its {FILE} {error}: take the model from elsewhere") from error
    except FaultError as error:
        raise ModelError(
            f"{folder}: its {FILE} fails ({error}); if it is damaged, fetch or save it anew"
        ) from error


def is_quick(tokenizer: Any) -> bool:
    """Return whether all parts of a `tokenizer.json` are known to be quick, and to write no more than they read."""
    if not isinstance(tokenizer, Mapping):
        return False
    model = tokenizer.get("model")
    is_bpe = isinstance(model, Mapping) and (model.get("type") == "BPE" or "merges" in model)
    puts_around = len(json.dumps(tokenizer.get("post_processor")))  # it may repeat the text
    parts = (tokenizer.get("normalizer"), tokenizer.get("pre_tokenizer"))
    return is_bpe and puts_around <= _MOST_AROUND and all(map(_part_is_quick, parts))


def _part_is_quick(part: Any) -> bool:
    if part is None:
        return True
    if not isinstance(part, Mapping):
        return False
    inner = [part.get("normalizers") or [], part.get("pretokenizers") or []]
    match part.get("type"):
        case "Replace":
            return _pattern_is_quick(part.get("pattern")) and _shrinks(part)
        case "Split":
            return _pattern_is_quick(part.get("pattern"))
        case "Prepend":
            return len(str(part.get("prepend"))) <= 1
        case str(kind):
            lists = (isinstance(parts, list) and all(map(_part_is_quick, parts)) for parts in inner)
            return kind in _QUICK_PARTS and all(lists)
    return False


def _pattern_is_quick(pattern: Any) -> bool:
    if not isinstance(pattern, Mapping):
        return False
    regex = pattern.get("Regex")
    return isinstance(pattern.get("String"), str) or (isinstance(regex, str) and regex in _QUICK_PATTERNS)


def _shrinks(part: Mapping[str, Any]) -> bool:
    """Return whether a replacement is no longer than what it replaces."""
    return len(str(part.get("content"))) <= len(str(part["pattern"].get("String", "")) or "x")
