"""How the rewards read a text."""

from __future__ import annotations

import pytest

from lmcot_train.rewards.reading import linked, read_statement, read_statements, same


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Ann was born in Rome. She sings.", 2),
        ("Dr. Moore met J. Stone in the U.S. Senate.", 1),
        ("One thing\nanother thing", 2),
        ("Is it so? Yes! It is.", 3),
        ("Silent River (1990) cost 3.5 million.", 1),
        ("", 0),
        ("...", 0),
    ],
)
def test_sentences_end_where_they_end(text: str, count: int) -> None:
    assert len(read_statements(text)) == count


@pytest.mark.parametrize(
    ("sentence", "entities"),
    [
        ("Mira Lanford's father is Ivo Zelford.", {"mira lanford", "ivo zelford"}),
        ("The director was born in 1990.", {"1990"}),
        ("The River was directed by her.", {"river"}),
        ("she was born there", set()),
        ("Jean-Luc O'Neill lives in Aix-en-Provence", {"jean-luc o'neill", "aix-en-provence"}),
    ],
)
def test_names_and_numbers_are_found(sentence: str, entities: set[str]) -> None:
    assert read_statement(sentence).entities == entities


def test_content_words_are_those_that_say_something() -> None:
    assert read_statement("The director of it was born in Rome").content == {"director", "born", "rome"}


def test_a_part_of_a_name_links_to_the_whole() -> None:
    assert linked(["moore"], ["ann moore"])
    assert linked(["ann moore"], ["moore"])
    assert not linked(["ann moore"], ["ann stone"])
    assert not linked(["moo"], ["ann moore"])
    assert not linked([], ["ann"])


@pytest.mark.parametrize(
    ("one", "other", "may_be"),
    [
        ("ann moore", "ann moore", True),
        ("moore", "ann moore", True),
        ("hyannis port massachusetts", "hyannis port", True),
        ("american", "american hockey league", False),
        ("ann", "ann moore", False),
        ("chester", "chester cathedral", False),
    ],
)
def test_names_of_one_thing_share_their_end(one: str, other: str, may_be: bool) -> None:
    assert same(one, other) is same(other, one) is may_be


@pytest.mark.parametrize(
    ("sentence", "asks"),
    [
        ("Who is she?", True),
        ("\u8c01\uff1f", True),
        ("He made \"Dude, Where's My Car?", False),
        ("She is.", False),
    ],
)
def test_a_question_states_nothing(sentence: str, asks: bool) -> None:
    assert read_statement(sentence).asks is asks
