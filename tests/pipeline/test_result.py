import json

import pytest

from lmcot_cli.errors import DuplicateIdError, PromptTooLongError, RowError
from lmcot_cli.pipeline.result import Failure, Result, Sample, TokenCounts, Usage

KEYS = [
    "id",
    "question",
    "answer",
    "agreement",
    "votes",
    "samples",
    "samples_saved",
    "cut_short",
    "truncated",
    "method",
    "usage",
    "gold",
    "type",
    "row_digest",
    "columns",
    "error",
]
WORKED = Result(
    id="q1",
    question="Où?",
    method="guided",
    gold=("Paris", "Lutèce"),
    answer="Paris",
    agreement=1.0,
    votes={"Paris": 1},
    samples=(Sample("Facts.", "Paris", -0.25, 7, 42),),
    usage=Usage(TokenCounts(10, 5), TokenCounts(12, 2)),
    line=3,
)
FAILED = Result("q2", None, "guided", error=Failure("bad_row", 'there is no "question"'), line=4)


def test_a_record_has_the_same_keys_in_the_same_order_whether_it_worked_or_not():
    assert list(WORKED.to_record()) == list(FAILED.to_record()) == KEYS
    assert list(WORKED.to_record()["samples"][0]) == [
        "rationale", "answer", "logprob", "tokens", "seed",
        "finish_reason", "rationale_finish_reason", "thinking", "thinking_text", "raw",
    ]  # fmt: skip


def test_a_line_is_the_record_as_readable_json():
    line = WORKED.to_line()

    assert line.endswith(b"\n")
    assert "Où?".encode() in line
    assert json.loads(line) == WORKED.to_record()
    assert json.loads(line)["usage"]["small"] == {
        "prompt": 10, "completion": 5, "cached_prompt": 0, "cached_completion": 0,
    }  # fmt: skip


def test_gold_is_null_where_none_was_given():
    assert FAILED.to_record()["gold"] is None


def test_half_a_surrogate_pair_is_escaped():
    line = Result("q", "\ud83d", "cot", answer="é").to_line()

    assert json.loads(line)["question"] == "\ud83d"


def test_a_failure_is_named_by_its_class():
    assert Failure.of(PromptTooLongError(90, 20, 100)).type == "prompt_too_long"
    assert Failure.of(DuplicateIdError("twice")) == Failure("duplicate_id", "twice")
    assert Failure.of(RowError("odd")).type == "row_failed"
    assert Failure.of(RowError("odd"), unnamed="bad_row").type == "bad_row"


def test_usage_adds_up():
    assert WORKED.usage + WORKED.usage == Usage(TokenCounts(20, 10), TokenCounts(24, 4))


@pytest.mark.parametrize(
    ("prompt_tokens", "advice"),
    [
        (4095, "shorten the row's context, or lower --max-answer-tokens to 1"),
        (4096, "shorten the row's context"),
        (4369, "shorten the row's context"),
    ],
)
def test_fewer_tokens_to_write_are_advised_where_they_would_do(prompt_tokens: int, advice: str):
    said = str(PromptTooLongError(prompt_tokens, 48, 4096, "--max-answer-tokens"))

    assert "48 to write (--max-answer-tokens) are" in said
    assert said.endswith(f"the model's context of 4096; {advice}")
