"""Kinds of answers: what they ask of a reply, and the one spelling that they give an answer."""

import json
from pathlib import Path

import pytest

from lmcot_cli.backends.constraint import Choices, JsonSchema, Number, Span
from lmcot_cli.datasets.choices import row_choices
from lmcot_cli.datasets.row import Columns, Paragraph, Row
from lmcot_cli.errors import MissingChoicesError, UsageError
from lmcot_cli.pipeline.answer_kinds import parse_kind

SCHEMA = '{"type": "object", "properties": {"port": {"type": "string"}}, "required": ["port"]}'


def row(**extra: object) -> Row:
    paragraph = Paragraph("Orzel", ("The Orzel was launched in Gdynia.", " It had five tubes, 20.5 knots."))
    return Row("q", "Where?", (paragraph,), (), None, None, 1, extra=Columns(extra))


def spelling(
    kind: str, answer: str, *choices: str, of: Row | None = None, rationale: str | None = None
) -> str | None:
    return parse_kind(kind, choices).spelling(answer, of or row(), rationale)


@pytest.mark.parametrize(
    ("answer", "spelt"),
    [
        ("1,500.00", "1500"), ("$1,500", "1500"), ("-4", "-4"), ("\u22124", "-4"), ("50%", "50"),
        ("1.5 million", "1500000"),
        ("about 42 apples", "42"), ("42 of 50", "42"), ("between 3 and 5", None), ("none", None), (".5", "0.5"),
        ("-0", "0"),
        ("1e3", "1000"), ("9" * 60, None), ("1.50", "1.5"), ("007", "7"), ("-$5", "-5"), ("20 knots", "20"),
    ],
)  # fmt: skip
def test_a_number_is_given_in_digits(answer: str, spelt: str | None):
    assert spelling("number", answer) == spelt


@pytest.mark.parametrize(
    ("answer", "spelt"),
    [
        ("Yes, both are.", "yes"), ("NO", "no"), ("true", "yes"), ("They are both ships, so yes", "yes"),
        ("They are, yes and no", None), ("Gdynia", None), ("No, yes is wrong", "no"),
    ],
)  # fmt: skip
def test_yes_or_no(answer: str, spelt: str | None):
    assert spelling("yes-no", answer) == spelt


@pytest.mark.parametrize(
    ("answer", "spelt"),
    [
        ("gdynia", "Gdynia"), ("B", "Sopot"), ("(b)", "Sopot"), ("b) Sopot", "Sopot"), ("Option C", "C++"),
        ("2", "Sopot"),
        ("The port of Gdynia", "Gdynia"), ("Gdynia or Sopot", None), ("A. Sopot", "Sopot"), ("Hel", None),
        ("c++", "C++"),
        ("D", None),
    ],
)  # fmt: skip
def test_a_choice_is_named_by_text_letter_or_number(answer: str, spelt: str | None):
    assert spelling("choice", answer, "Gdynia", "Sopot", "C++") == spelt


@pytest.mark.parametrize(
    "column",
    [
        {"choices": ["Gdynia", "Sopot"]},
        {"options": ["Gdynia", " Sopot "]},
        {"choices": {"text": ["Gdynia", "Sopot"], "label": ["A", "B"]}},
        {"choices": [{"label": "A", "text": "Gdynia"}, {"label": "B", "text": "Sopot"}]},
        {"options": {"A": "Gdynia", "B": "Sopot"}},
    ],
)
def test_choices_of_a_row_are_found_in_the_usual_layouts(column: dict[str, object]):
    assert row_choices(row(**column)) == ("Gdynia", "Sopot")
    assert spelling("choice", "B", of=row(**column)) == "Sopot"


def test_labels_of_a_row_are_its_own():
    column = {"text": ["Gdynia", "Sopot"], "label": ["1", "2"]}
    assert spelling("choice", "2", of=row(choices=column)) == "Sopot"
    assert spelling("choice", "B", of=row(choices=column)) is None


@pytest.mark.parametrize(
    "column", [{}, {"choices": "Gdynia"}, {"choices": 3}, {"choices": ["one"]}, {"options": None}]
)
def test_a_row_without_choices_says_so(column: dict[str, object]):
    with pytest.raises(MissingChoicesError, match="--choices"):
        spelling("choice", "B", of=row(**column))


@pytest.mark.parametrize(
    ("answer", "spelt"),
    [
        ("Gdynia", "Gdynia"), ("gdynia", "gdynia"), ("the Orzel", "the Orzel"), ("an Orzel", "an Orzel"),
        ("YES", "yes"),
        ("Gdyni", None), ("Sopot", None), ("20.5 knots", "20.5 knots"), ("a storm", "a storm"), ("0.5", None),
    ],
)  # fmt: skip
def test_a_span_stands_in_context_title_or_rationale(answer: str, spelt: str | None):
    assert spelling("span", answer, rationale="There was a storm.") == spelt


def test_a_span_of_a_script_without_spaces():
    chinese = Row("q", "?", (Paragraph("", ("\u5317\u4eac\u662f\u9996\u90fd\u3002",)),), (), None, None, 1)
    assert spelling("span", "\u5317\u4eac", of=chinese) == "\u5317\u4eac"
    assert spelling("span", "\u4e0a\u6d77", of=chinese) is None


@pytest.mark.parametrize(
    ("answer", "spelt"),
    [
        ('{"port": "Gdynia"}', '{"port": "Gdynia"}'), ('Here: {"port":"Gdynia"} done', '{"port": "Gdynia"}'),
        ('{"port": 4}', None), ("Gdynia", None), ('{"x": {"port": "Hel"}}', None),
    ],
)  # fmt: skip
def test_json_must_fit_its_schema(answer: str, spelt: str | None):
    assert spelling(f"json:{SCHEMA}", answer) == spelt


def test_text_without_quotes_fits_a_schema_of_strings():
    assert spelling('json:{"enum": ["Gdynia", "Sopot"]}', "Gdynia") == '"Gdynia"'
    assert spelling('json:{"enum": ["Gdynia", "Sopot"]}', "Hel") is None


def test_what_each_kind_holds_a_model_to(tmp_path: Path):
    (tmp_path / "schema.json").write_text(SCHEMA)

    assert parse_kind("text").constraint(row(), None) is None
    assert parse_kind("number").constraint(row(), None) == Number()
    assert parse_kind("yes-no").constraint(row(), None) == Choices(("yes", "no"))
    assert parse_kind("choice", ("A", "B")).constraint(row(), None) == Choices(("A", "B"))
    texts = ("The Orzel was launched in Gdynia. It had five tubes, 20.5 knots.", "Orzel", "R.")
    assert parse_kind("span").constraint(row(), "R.") == Span(texts, ("yes", "no"))
    in_file = parse_kind(f"json:{tmp_path / 'schema.json'}")
    assert in_file.constraint(row(), None) == parse_kind(f"json:{SCHEMA}").constraint(row(), None)
    assert isinstance(in_file.constraint(row(), None), JsonSchema)
    assert in_file.name == parse_kind(f"json: {SCHEMA}").name != parse_kind('json:{"type": "object"}').name


@pytest.mark.parametrize(
    ("kind", "choices", "says"),
    [
        ("spam", (), "--answer spam: choose one of text, span, yes-no"),
        ("json:", (), "--answer json: write"),
        ("json:nowhere.json", (), "cannot be read"),
        ("json:/dev/zero", (), "is longer than 1,048,576 bytes"),
        ("json:{", (), "is not JSON"),
        ('json:{"type": "spam"}', (), "the schema is not valid at type"),
        ('json:{"$ref": "#/$defs/x"}', (), "refers to #/$defs/x"),
        ('json:{"$ref": "https://example.org/s.json"}', (), "refers to https://example.org"),
        ("text", ("a", "b"), "--choices goes with --answer choice"),
        ("choice", ("a",), "give two or more"),
        ("choice", ("a", "A"), "give two or more"),
    ],
)
def test_a_kind_that_cannot_be_used_is_one_line(kind: str, choices: tuple[str, ...], says: str):
    with pytest.raises(UsageError) as caught:
        parse_kind(kind, choices)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_json_of_the_same_value_votes_together():
    from lmcot_cli.pipeline.vote import Ballot, count_votes

    answers = [json.dumps({"a": 1, "b": 2}), json.dumps({"b": 2, "a": 1}), json.dumps({"a": 2, "b": 2})]
    assert list(count_votes([Ballot(answer) for answer in answers]).votes.values()) == [2, 1]


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("1,5", "1.5"),
        ("1,500", "1500"),
        ("1,00,000", "100000"),
        ("1,500.25", "1500.25"),
        ("1.000.000", "1000000"),
        ("1 000", "1000"),
        ("1.000", "1"),
        ("minus 4", "-4"),
        ("\u22124", "-4"),
        ("$-5", "-5"),
        ("2.5M", "2500000"),
        ("5k", "5000"),
        ("5 km", "5"),
        ("5 B", "5"),
        ("1.5 Million", "1500000"),
        ("1/2", None),
        ("3:30", None),
        ("5-7", None),
        ("12/05/1938", None),
        ("7 - a lot", "7"),
    ],
)
def test_a_number_is_not_another_for_the_way_it_is_written(answer: str, number: str | None) -> None:
    row = Row("1", "How many?", (), (), None, None, 1)
    assert parse_kind("number").spelling(answer, row, None) == number


@pytest.mark.parametrize("answer", ["Yes and no.", "yes/no", "No or yes, it depends"])
def test_both_are_neither(answer: str) -> None:
    assert parse_kind("yes-no").spelling(answer, row(), None) is None
