"""Sentences and words of many scripts."""

from __future__ import annotations

import pytest

from lmcot_train.rewards.segments import sentences, words


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Livia was born in 1934. 1937 is later than 1934.", 2),
        ("He fought in World War I. Fritz Haber did, too.", 2),
        ("When I. Newton came, Dr. Moore left.", 1),
        ("Der Film kam am 3. Mai 1990, z. B. in Oslo. Er war gut.", 2),
        ("Фильм вышел в 1990 г. в Осло. Он родился там.", 2),
        ("《寂静的河流》由安·摩尔执导。安·摩尔出生在奥斯陆！真的吗？", 3),
        ("アン・ムーアが監督した。彼女はオスロで生まれた。", 2),
        ("ولدت آن مور في أوسلو. هل تعيش هناك؟ نعم.", 3),
        ("ऐन मूर का जन्म ओस्लो में हुआ। वह बर्गन में रहती है।", 2),
        ("แอนเกิดที่ออสโล\nเธออยู่ที่เบอร์เกน", 2),
    ],
)
def test_sentences_end_where_they_end(text: str, count: int) -> None:
    assert len(list(sentences(text))) == count


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Jean-Luc O’Neill’s AT&T co-op", ["Jean-Luc", "O'Neill's", "AT&T", "co-op"]),
        ("1,000 people - 3.5 million", ["1,000", "people", "3.5", "million"]),
        ("安·摩尔出生在奥斯陆。", ["安·摩尔", "出生", "在", "奥斯陆"]),
        ("アン・ムーアはオスロで生まれた。", ["アン・ムーア", "は", "オスロ", "で", "生まれ", "た"]),
        ("แม่น้ำเงียบกำกับ", ["แม่น้ำ", "เงียบ", "กำกับ"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("- a -b - ", ["a", "b"]),
        ("", []),
    ],
)
def test_words_are_what_the_language_takes_for_one(text: str, expected: list[str]) -> None:
    assert [word for word, _ in words(text)] == expected


def test_a_comma_parts_words_and_the_full_stop_of_an_initial_does_not() -> None:
    assert words("Oslo, Norway") == [("Oslo", True), ("Norway", False)]
    assert words("J. Moore") == [("J", True), ("Moore", True)]


@pytest.mark.parametrize("text", ["answ" + "er" * 50_000 + "!.", "a. " * 50_000, "am 3. " * 50_000])
def test_no_text_takes_time_by_the_square_of_its_length(text: str) -> None:
    """A word of 65,000 letters took more than two minutes."""
    assert "".join(sentences(text)).replace(" ", "") == text.replace(" ", "")
