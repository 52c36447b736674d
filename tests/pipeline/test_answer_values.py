"""Which answers are one value, for the vote."""

import pytest

from lmcot_cli.pipeline.answer_values import answer_key
from lmcot_cli.pipeline.vote import Ballot, count_votes

SAME = [
    ("1,000", "1000"),
    ("1.50", "1.5"),
    ("1.0", "1"),
    ("The Paris", "paris."),
    ("U.S.", "US"),
    ("-4", "\u22124"),
    ("\u20134", "-4"),
    ("2004\u20132005", "2004-2005"),
    ("2004 - 2005", "2004-2005"),
    ("50 %", "50%"),
    ("50 percent", "50%"),
    ("$1,000", "$1000"),
    ("5$", "$5"),
    ("May 5, 1938", "5 May 1938"),
    ("May 5th, 1938", "1938-05-05"),
    ("北京\u3002", "北京"),
    ("John\u2019s", "John's"),
    ("\u201cGdynia\u201d", "Gdynia"),
    ('{"a": 1, "b": 2}', '{"b":2,"a":1}'),
    ("1938.", "1938"),
    ("+4", "4"),
    ("0.5", ".5"),
    ("1,234.50", "1234.5"),
    ("A Beautiful Mind", "Beautiful Mind"),
    ("a port", "port"),
    ("the Lord of the Rings", "Lord of Rings"),
    ("Washington, D.C.", "Washington DC"),
    ("-0", "0"),
    ("(42)", "42"),
    ("\uff11\uff15", "15"),
    ("5 million dollars", "5 Million Dollars."),
    ("state-of-the-art", "State-of-the-Art"),
    ("May 5 1938", "May 5, 1938"),
    ("AT&T", "at&t"),
    ("The", "the"),
    ("  x ", "X"),
    ("$1.50 million", "$1.50 Million"),
    ("sept. 3, 2001", "3 September 2001"),
]
DIFFERENT = [
    ("1.5", "15"),
    ("-4", "4"),
    ("C++", "C"),
    ("C#", "C"),
    ("C++", "C#"),
    ("50%", "50"),
    ("$5", "5"),
    ("\u20ac5", "$5"),
    ("1:2", "12"),
    ("3-2", "32"),
    ("1/2", "12"),
    ("2004-2005", "20042005"),
    ("1938-05-05", "19380505"),
    ("5/6/1938", "56/1938"),
    ("1,5", "15"),
    ("1.5 million", "15 million"),
    ("-4 \u00b0C", "4 \u00b0C"),
    ("<5", "5"),
    (">5", "<5"),
    ("Vitamin A", "Vitamin"),
    ("Plan A", "Plan B"),
    ("A", "B"),
    ("A", "The"),
    ("007", "7"),
    ("Python 3.10", "Python 3.1"),
    ("A+", "A"),
    ("A-", "A"),
    ("x=-4", "x=4"),
    ("x = -4", "x = 4"),
    ("+", "-"),
    ("10^3", "103"),
    ("9:30", "930"),
    ("m\u00b2", "m2"),
    ("0.5", "5"),
    (".5", "5"),
    ("$.5", "$5"),
    ("yes", "no"),
    ("May 5, 1938", "May 6, 1938"),
    ("{}", "[]"),
    ("-$5", "$5"),
    ("$-5", "$5"),
    ("1e5", "15"),
    ("~5", "5"),
    ("12%", "1.2%"),
    ("Windows 3.1", "Windows 31"),
    ("1-0", "10"),
    ("(-4)", "4"),
    ("...", "?"),
    ("3,4", "34"),
    ("1, 2", "12"),
    ("Apollo 11", "Apollo 1.1"),
    ("1.000.000", "1000000"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_spellings_of_one_value_are_the_same(one: str, other: str):
    assert answer_key(one) == answer_key(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_values_that_a_scorer_takes_for_one_stay_apart(one: str, other: str):
    assert answer_key(one) != answer_key(other)


def test_different_numbers_are_different_candidates():
    vote = count_votes([Ballot(answer) for answer in ["1.5", "15", "15", "1.50", "1.5", "-1.5"]])

    assert vote.votes == {"1.5": 3, "15": 2, "-1.5": 1}
