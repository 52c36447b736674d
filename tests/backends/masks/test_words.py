"""Where runs of whole words begin and end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmcot_cli.backends.masks.words import edges
from tests.backends.runs_of_words import is_run_of_words

TEXT = 'Shirley Temple\'s role as U.S. envoy cost $1,000.5 in "The  New\nYork" (1986-87), he said -- nothing.'


@pytest.mark.parametrize(
    "span",
    [
        "Shirley",
        "Shirley Temple",
        "Temple's",
        "Temple",
        "U.S.",
        "U.S. envoy",
        "$1,000.5",
        "1,000.5",
        "The New York",
        '"The New York"',
        "1986",
        "87",
        "(1986-87)",
        "nothing.",
        "nothing",
        TEXT,
    ],
)
def test_a_run_of_whole_words_is_found(span: str) -> None:
    assert is_run_of_words(span, TEXT)


@pytest.mark.parametrize(
    "span",
    [
        "",
        " ",
        "hirley",
        "Shirl",
        "s role",
        "s",
        "S",
        "U",
        "000",
        "000.5",
        "1",
        "1,000",
        "5",
        "$",
        "Envoy",
        "York New",
        "--",
        ",",
    ],
)
def test_parts_of_words_and_bare_punctuation_are_none(span: str) -> None:
    assert not is_run_of_words(span, TEXT)


def test_scripts_without_spaces_may_be_cut_anywhere_and_marks_stay_with_their_letters() -> None:
    assert is_run_of_words("日本", "東京は日本の首都です。")
    assert is_run_of_words("서울", "수도는 서울이다.")
    assert is_run_of_words("दुनिया", "नमस्ते दुनिया")
    assert not is_run_of_words("दुनिय", "नमस्ते दुनिया")
    assert not is_run_of_words("cafe", "cafe\N{COMBINING ACUTE ACCENT} noir")


@given(st.text(st.sampled_from("ab1 .,'-\"東é\N{COMBINING ACUTE ACCENT}\n"), max_size=40))
def test_edges_never_part_letters_and_every_plain_word_has_both(text: str) -> None:
    starts, ends = edges(text)
    assert not [at for at in starts if text[at].isspace()] + [at for at in ends if text[at - 1].isspace()]
    for word in text.split():
        if word.isascii() and word.isalnum():
            assert is_run_of_words(word, text)
