"""What is dropped from a context, and in which order."""

from __future__ import annotations

import pytest

from lmcot_cli.datasets.row import Paragraph, Row
from lmcot_cli.prompts.truncation import Droppable, Truncate

SHIPS = (
    Paragraph("Sep", ("Fitted out later.", "A ship.")),
    Paragraph("Orzel", ("Launched in 1938 in Gdynia.",)),
    Paragraph("Lyon", ("A city in France.",)),
)


def row(context: tuple[Paragraph, ...], question: str = "Where was the Orzel launched?") -> Row:
    return Row("q", question, context, (), None, None, 1, (1,), ((1, 0),))


def kept(context: tuple[Paragraph, ...], by: Truncate, count: int, **more: str) -> tuple[Paragraph, ...]:
    return Droppable(row(context, **more), by).without(count).context


def test_paragraphs_go_from_the_end_or_the_least_relevant_first_and_keep_their_order() -> None:
    assert [kept(SHIPS, "paragraphs", count) for count in range(3)] == [SHIPS, SHIPS[:2], SHIPS[:1]]
    assert kept(SHIPS, "relevance", 1) == SHIPS[:2]
    assert kept(SHIPS, "relevance", 2) == (SHIPS[1],)


def test_a_question_without_words_drops_from_the_end() -> None:
    assert kept(SHIPS, "relevance", 2, question="?!") == SHIPS[:1]


def test_one_paragraph_stays() -> None:
    assert Droppable(row(SHIPS), "relevance").most == 2
    assert Droppable(row(()), "paragraphs").most == 0
    assert Droppable(row(SHIPS[:1]), "paragraphs").most == 0


def test_a_text_is_parted_at_its_blank_lines_and_stays_one() -> None:
    text = Paragraph("", ("Of Lyon.\n\nThe Orzel\nwas launched.\n \n\nOf ships.",))
    assert Droppable(row((text,)), "relevance").most == 2
    assert kept((text,), "paragraphs", 1) == (Paragraph("", ("Of Lyon.\n\nThe Orzel\nwas launched.",)),)
    assert kept((text,), "relevance", 2) == (Paragraph("", ("The Orzel\nwas launched.",)),)
    assert kept((text,), "relevance", 0) == (text,)


def test_a_text_among_others_is_dropped_part_by_part() -> None:
    text = Paragraph("Port", ("One.\n\nTwo.",))
    assert kept((SHIPS[0], text), "paragraphs", 1) == (SHIPS[0], Paragraph("Port", ("One.",)))
    assert kept((SHIPS[0], text), "paragraphs", 2) == (SHIPS[0],)


def test_places_of_sentences_do_not_survive_for_they_would_be_others() -> None:
    shorter = Droppable(row(SHIPS), "paragraphs").without(1)
    assert (shorter.supporting, shorter.supporting_sentences) == ((), ())
    assert shorter.question == "Where was the Orzel launched?"


@pytest.mark.parametrize(("count", "characters", "dropped"), [(1, 0, 1), (2, 0, 2), (1, 18, 2), (1, 999, 2)])
def test_so_many_are_dropped_that_the_characters_are_gone(
    count: int, characters: float, dropped: int
) -> None:
    assert Droppable(row(SHIPS), "paragraphs").at_least(count, characters) == dropped
