"""The normalisation that HotpotQA, 2WikiMultiHopQA and MuSiQue share (it is SQuAD's)."""

from __future__ import annotations

import re
import string
from functools import lru_cache

_DELETE_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


@lru_cache(maxsize=4096)  # the samples of a row repeat a few answers, and its gold answer meets each of them
def normalize_answer(text: str) -> str:
    """Return a text in lower case without ASCII punctuation and English articles, with single spaces.

    Punctuation leaves no space behind: "state-of-the-art" becomes "stateoftheart" and "1,000" becomes "1000".
    Other signs stay: en dashes, curly quotes, accents.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_DELETE_PUNCTUATION)).split())
