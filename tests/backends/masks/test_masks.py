"""The masks that need only a vocabulary, over a made-up one that cuts text in every way."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmcot_cli.backends.constraint import Choices, Constraint, JsonSchema, Number, Span
from lmcot_cli.backends.masks.base import Mask
from lmcot_cli.backends.masks.lexicon import Lexicon
from lmcot_cli.backends.masks.portable import PORTABLE, portable_mask
from tests.backends.runs_of_words import is_run_of_words

PIECES: list[bytes | None] = [
    *(bytes([byte]) for byte in range(256)),
    *(
        text.encode()
        for text in ("the", " the", "th", "he", "\nthe", " a", "a b", "an", " 1", "10", "1,000", "-1")
    ),
    *(text.encode() for text in ("é", " é", ".\n", "\n\n", "  ", ". ", "日本", "the", "a,", "-", "an.")),
    None,
    None,
    b"",
]


class Vocabulary:
    """`PIECES`, as a vocabulary."""

    def piece(self, token: int) -> bytes | None:
        return PIECES[token]


LEXICON = Lexicon(Vocabulary(), len(PIECES))
END, CONTROL = len(PIECES) - 2, len(PIECES) - 1
WORDS = st.lists(
    st.sampled_from(["the", "a", "an", "1", "1,000", "10", "é", "日本", "b.", "-"]), min_size=1, max_size=8
)
TEXTS = st.lists(WORDS.map(" ".join), min_size=1, max_size=3).map(tuple)
CONSTRAINTS = st.one_of(
    TEXTS.map(Choices), TEXTS.map(lambda texts: Span(texts, also=("yes", "no"))), st.just(Number())
)


def mask_of(constraint: Constraint, stop: Sequence[str] = ()) -> Mask:
    mask = portable_mask(constraint, LEXICON, stop)
    assert mask is not None
    return mask


def write(constraint: Constraint, *pieces: str | None, stop: Sequence[str] = ()) -> tuple[str, bool]:
    """Write tokens, all of which must be allowed; return the text, and whether the last one ended it."""
    mask, ended = mask_of(constraint, stop), False
    for piece in pieces:
        token = END if piece is None else PIECES.index(piece.encode())
        assert not ended and mask.allows(token) and token in mask.allowed()
        ended = mask.accept(token)
    return mask.text, ended


def fits(text: str, constraint: Constraint) -> bool:
    match constraint:
        case Choices(texts):
            return text in texts
        case Span(texts, also):
            return text in also or any(is_run_of_words(text, passage) for passage in texts)
    return re.fullmatch(r"[-+]?([0-9]{1,3}(,[0-9]{3})+|[0-9]+)(\.[0-9]+)?", text) is not None


@given(CONSTRAINTS, st.lists(st.integers(0, 10**6), min_size=1, max_size=30))
def test_the_allowed_tokens_are_those_that_are_allowed_one_by_one_and_lead_to_what_was_asked_for(
    constraint: Constraint, choices: list[int]
) -> None:
    mask = mask_of(constraint, stop=("an.",))
    for choice in choices:
        allowed = mask.allowed()
        assert allowed.tolist() == [token for token in range(len(PIECES)) if mask.allows(token)]
        token = int(allowed[choice % len(allowed)])
        if mask.accept(token):
            break
    if PIECES[token] is None:
        assert mask.text
    if mask.text:
        assert fits(mask.text, constraint)


@pytest.mark.parametrize("constraint", [Choices(("the an",)), Span(("the an",)), Number()])
def test_nothing_else_may_come_and_what_comes_anyway_ends_the_reply(constraint: Constraint) -> None:
    for token in (CONTROL, END, PIECES.index(b"x")):
        mask = mask_of(constraint)
        assert not mask.allows(token)
        assert mask.accept(token)
        assert mask.text == ""


def test_a_span_is_what_stands_in_the_text_whatever_tokens_spell_it() -> None:
    text = "In the\n  an café the end"
    assert write(Span((text,)), "\nthe", " a", "n", None) == ("the an", True)
    assert write(Span((text,)), "\n\n", "th", "e", " ", "e") == ("the", False)
    assert write(Span((text,)), " ", "c", "a", "f", "é", ".\n") == ("café", True)
    assert write(Span((text,)), "e", "n", "d") == ("end", True)
    assert write(Span((text,), also=("no",)), " ", "n", "o") == ("no", True)


def test_one_of_several_places_is_settled_by_what_follows() -> None:
    texts = ("the an b", "the a", "an")
    assert write(Span(texts), "the", " a", "n", " ", "b") == ("the an b", True)
    assert write(Span(texts), "the", " a", ".\n") == ("the a", True)
    assert mask_of(Span(texts)).allows(PIECES.index(b"b")) is not False


def test_a_finished_span_ends_at_a_stop_string_or_at_punctuation_that_the_text_does_not_go_on_with() -> None:
    assert write(Span(("the an, a b",)), "the", "\n") == ("the", True)
    assert write(Span(("the an, a b",)), "the", " a", "n", ",", " a") == ("the an, a", False)
    assert write(Span(("the an b",)), "the", " a", "n", ",") == ("the an", True)
    assert write(Span(("the b",)), "the", "an.", stop=("an.",)) == ("the", True)
    mask = mask_of(Span(("the b",)))
    mask.accept(PIECES.index(b"the"))
    assert not mask.allows(PIECES.index(b"an."))


def test_a_little_white_space_may_come_before_a_reply() -> None:
    for constraint in (Choices(("the",)), Span(("the",)), Number()):
        mask = mask_of(constraint)
        blank, blanks = PIECES.index(b" "), PIECES.index(b"\n\n")
        assert mask.allows(blanks) and mask.allows(blank) and not mask.accept(blank)
        assert not mask.allows(blanks) and mask.allows(blank) and not mask.accept(blank)
        assert not mask.allows(blank) and not mask.allows(PIECES.index(b" the"))


def test_a_choice_that_begins_another_ends_where_the_reply_leaves_it() -> None:
    choices = Choices(("the", "the an"))
    assert write(choices, " the") == ("the", False)
    assert write(choices, " the", " a", "n") == ("the an", True)
    assert write(choices, " the", None) == ("the", True)
    assert write(choices, " the", ".\n") == ("the", True)
    assert write(choices, " the", " a") == ("the", False)


@pytest.mark.parametrize(
    ("pieces", "number"),
    [
        (("10", "."), "10"),
        (("10", ".", "5"), "10.5"),
        (("-1", "an"), "-1"),
        ((" 1", " the"), "1"),
        (("1", ",", "0", "0", "0"), "1,000"),
        (("1", ",", "0", " the"), "1"),
        (("1,000", ",", "0", "0", "0"), "1,000,000"),
        (("+", "1", "é"), "+1"),
    ],
)
def test_a_number_is_what_the_reply_begins_with(pieces: tuple[str, ...], number: str) -> None:
    assert write(Number(), *pieces)[0] == number


def test_whatever_is_no_part_of_a_number_ends_it() -> None:
    assert write(Number(), "10", " the") == ("10", True)
    assert write(Number(), "10", ".", " the") == ("10", True)
    assert write(Number(), "10", ".") == ("10", False)
    assert write(Number(), "10", None) == ("10", True)


def test_a_vocabulary_that_cannot_spell_the_reply_allows_nothing() -> None:
    class Small:
        def piece(self, token: int) -> bytes | None:
            return b"ab"[token : token + 1]

    mask = portable_mask(Choices(("abc",)), Lexicon(Small(), 2), ())
    assert mask is not None
    assert mask.allowed().tolist() == [0]
    assert not mask.accept(0) and not mask.accept(1)
    assert np.array_equal(mask.allowed(), []) and mask.accept(0)


def test_grammars_are_no_business_of_these_masks() -> None:
    assert {Choices, Span, Number} == PORTABLE
    assert portable_mask(None, LEXICON, ()) is None
    with pytest.raises(TypeError):
        portable_mask(JsonSchema("{}", {}), LEXICON, ())
