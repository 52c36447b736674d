"""The official normalisation, quirk by quirk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmcot_cli.scoring.normalize import normalize_answer


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("state-of-the-art", "stateoftheart"),  # punctuation leaves no space, so "the" is no word of its own
        ("1,000", "1000"),
        ("U.S.", "us"),
        ("The Beatles", "beatles"),
        ("a, an and the", "and"),
        ("Theatre in a theme", "theatre in theme"),
        ("  two \t words\n", "two words"),
        ("1914–1918", "1914–1918"),  # noqa: RUF001  an en dash is not ASCII punctuation
        ("“Café”", "“café”"),  # nor are curly quotes, and accents stay
        ("No answer", "no answer"),
        ("The", ""),
        ("...", ""),
        ("", ""),
        ("a–b", "–b"),  # noqa: RUF001  an article may end at any character that is no letter
    ],
)
def test_quirks(text: str, normalized: str) -> None:
    assert normalize_answer(text) == normalized


@given(st.text())
def test_normalised_text_is_words_with_single_spaces(text: str) -> None:
    normalized = normalize_answer(text)
    assert normalized == " ".join(normalized.split())
