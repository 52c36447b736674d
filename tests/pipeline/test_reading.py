"""How the replies of a run are read: kinds, expressions of one's own, markers of one's own prompts."""

import time
from pathlib import Path

import pytest

from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import SlowPatternError, UsageError
from lmcot_cli.pipeline.answer_kinds import parse_kind
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.pipeline.reading import AnswerReader, Read, compile_pattern
from lmcot_cli.prompts.render import Prompts

ROW = Row("q", "Where?", (), (), None, None, 1)
GERMAN = 'Denke nach und ende mit {}Also lautet die L\u00f6sung:{} und der L\u00f6sung, sonst mit "Nein".'


def markers(folder: Path, template: str, stage: str = "cot") -> tuple[str, ...]:
    (folder / f"{stage}.j2").write_text(template, encoding="utf-8")
    return Prompts(folder).markers(stage)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "quotes",
    [
        '""',
        "''",
        "\u201c\u201d",
        "\u201e\u201c",
        "\u00ab\u00bb",
        "\u00bb\u00ab",
        "\u300c\u300d",
        "``",
        "\u201a\u2018",
    ],
)
def test_a_chain_ends_as_the_prompt_quotes_it(tmp_path: Path, quotes: str):
    own = markers(tmp_path, "{{ row.question }}\n" + GERMAN.format(*quotes))
    chain = "Sie lief in Gdynia vom Stapel. **Also lautet  die L\u00f6sung:** Gdynia."

    assert own == ("Also lautet die L\u00f6sung:",)
    assert AnswerReader(own=own).chain(chain, ROW)[:2] == ("Sie lief in Gdynia vom Stapel.", "Gdynia")
    assert AnswerReader().chain(chain, ROW).answer is None


def test_a_comment_names_the_marker_outright(tmp_path: Path):
    template = '{# answer marker: Ergebnis #}{{ row.question }} Sage nicht "ich glaube es": denke nach.'
    own = markers(tmp_path, template)

    assert own == ("Ergebnis",)
    assert AnswerReader(own=own).chain("Das ist so. Ergebnis: Gdynia.", ROW)[:2] == ("Das ist so.", "Gdynia")


@pytest.mark.parametrize("place", ["<answer>", "[X]", "X", "...", "\u2026", "___", "{answer}"])
def test_the_place_of_the_answer_is_no_part_of_an_ending(tmp_path: Path, place: str):
    assert markers(tmp_path, "{% raw %}" + f'End with "Hence we say {place}."' + "{% endraw %}") == (
        "Hence we say",
    )


def test_a_prompt_that_quotes_nothing_leaves_the_built_in_markers(tmp_path: Path):
    own = markers(tmp_path, "{{ row.question }} Think. Don't stop; it's fine.")
    assert own == ()
    assert AnswerReader(own=own).chain("It is so. So the answer is Gdynia.", ROW)[:2] == (
        "It is so.",
        "Gdynia",
    )


def test_an_echo_of_ones_own_cue_is_taken_off(tmp_path: Path):
    own = markers(tmp_path, "{{ row.question }}\nNur der Hafen.\nHafen:", "standard")
    assert own == ("Hafen:",)
    assert AnswerReader(own=own).direct("**Hafen:** Gdynia", ROW).answer == "Gdynia"
    assert AnswerReader().direct("Hafen: Gdynia", ROW).answer == "Hafen: Gdynia"


def test_our_own_templates_ask_for_what_is_built_in():
    assert Prompts().markers("cot") == ("So the answer is",)
    assert Prompts().markers("standard") == ("Answer:",)


@pytest.mark.parametrize(
    ("pattern", "reply", "answer"),
    [
        (r"\[\[(.+?)\]\]", "No [[Sopot]], but [[Gdynia]].", "Gdynia"),
        (r"\d{4}", "In 1937, no, 1938.", "1938"),
        (r"port=(\w+)|harbour=(\w+)", "port=Sopot harbour=Gdynia", "Gdynia"),
        (r"port=(\w+)", "Gdynia", None),
        (r"port=(\w*)", "port=", None),
    ],
)
def test_an_expression_finds_the_first_group_of_its_last_match(pattern: str, reply: str, answer: str | None):
    reader = AnswerReader(pattern=compile_pattern(pattern))
    assert reader.direct(reply, ROW).answer == answer
    assert reader.chain(f"It is so. {reply}", ROW).answer == answer


def test_the_rationale_ends_before_the_sentence_that_the_expression_matches_in():
    reader = AnswerReader(pattern=compile_pattern(r"<<(.*?)>>"))
    assert reader.chain("It was Gdynia. So I say <<Gdynia>> here.", ROW) == Read(
        "It was Gdynia.", "Gdynia", True
    )
    assert reader.chain("It was Gdynia.", ROW) == Read("It was Gdynia.", None, False)


def test_a_hostile_reply_does_not_hang_an_expression():
    reader = AnswerReader(pattern=compile_pattern(r"^(?:(a|ab|b)+)+[cd]$"))
    started = time.monotonic()
    with pytest.raises(SlowPatternError, match="--answer-regex"):
        reader.direct("ab" * 4000 + "x", ROW)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("pattern", ["(", "*", "", "(?P<x>a)(?P=y)", "a\n[b\n"])
def test_an_expression_that_is_none_is_one_line(pattern: str):
    with pytest.raises(UsageError, match="--answer-regex") as caught:
        AnswerOptions(answer_regex=pattern).check()
    assert "\n" not in str(caught.value)


def test_a_kind_has_the_last_word():
    assert AnswerReader(parse_kind("number")).direct("The answer is $1,500.", ROW).answer == "1500"
    assert AnswerReader(parse_kind("number")).direct("Gdynia", ROW).answer is None
    assert (
        AnswerReader(parse_kind("yes-no")).chain("It is so. So the answer is yes, both.", ROW).answer == "yes"
    )
    schema = 'json:{"type": "object", "required": ["answer"]}'
    reply = '```json\n{"answer": "Gdynia", "year": 1938}\n```'
    assert AnswerReader(parse_kind(schema)).direct(reply, ROW).answer == '{"answer": "Gdynia", "year": 1938}'
    assert AnswerReader(parse_kind("choice", ("Gdynia", "Sopot"))).direct("**B**", ROW).answer == "Sopot"
