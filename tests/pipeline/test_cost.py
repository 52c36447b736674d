import json
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.scripted import ScriptedBackend
from lmcot_cli.errors import FirstRowsFailError, LmcotError, RowError, UsageError
from lmcot_cli.pipeline.answer import AnswerRun
from lmcot_cli.pipeline.cost import FREE, Price, cost_of
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.pipeline.preview import preview
from lmcot_cli.pipeline.result import TokenCounts, Usage

PRICE = Price(prompt=2.0, completion=10.0)


@pytest.fixture
def options(tmp_path: Path) -> AnswerOptions:
    (tmp_path / "script.jsonl").write_text('{"match": "", "text": ["Lyon", "Nice"]}')
    script = f"scripted:{tmp_path / 'script.jsonl'}"
    return AnswerOptions(small=script, large="big", aliases={"big": script}, prices={"big": PRICE})


def questions(count: int) -> BytesIO:
    rows = [{"id": f"q{i}", "question": f"Where is {i}?", "context": "c"} for i in range(count)]
    return BytesIO(b"".join(json.dumps(row).encode() + b"\n" for row in rows))


def test_a_price_is_of_a_million_tokens():
    assert PRICE.of(TokenCounts(1_000_000, 500_000)) == 7.0


def test_prices_are_found_by_spec_or_alias_and_what_has_none_is_free(options: AnswerOptions):
    assert options.role_prices == {"small": FREE, "large": PRICE}
    script = options.aliases["big"]
    by_spec = replace(options, prices={script: PRICE})
    assert by_spec.role_prices == {"small": PRICE, "large": PRICE}
    assert cost_of(Usage(TokenCounts(9, 9), TokenCounts(0, 100_000)), options.role_prices) == 1.0
    assert cost_of(Usage(large=TokenCounts(9, 300_000, 9, 200_000)), options.role_prices) == 1.0


def test_a_run_costs_no_more_than_it_may_but_for_what_is_out(options: AnswerOptions):
    run = AnswerRun(questions(1500), replace(options, max_cost=0.02))
    results = list(run.results())

    assert 0.02 <= run.cost < 0.03
    assert {r.error.type for r in results if r.error} == {"out_of_budget"}
    assert "--max-cost" in next(r.error.message for r in results if r.error)


def test_what_failed_rows_took_is_in_their_records_and_counts_for_later_sessions(
    options: AnswerOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    complete, out = ScriptedBackend.complete, tmp_path / "out"
    (tmp_path / "large.jsonl").write_text('"Lyon"')
    large = f"scripted:{tmp_path / 'large.jsonl'}"

    def failing(
        backend: ScriptedBackend, requests: Sequence[Request], sampling: Sampling
    ) -> list[Completion | RowError]:
        fails = backend.identity.spec == large
        return [RowError("no") for _ in requests] if fails else complete(backend, requests, sampling)

    monkeypatch.setattr(ScriptedBackend, "complete", failing)
    options = replace(options, large=large, prices={options.small: PRICE}, samples=4)
    first = AnswerRun(questions(2), options, out)
    results = list(first.results())
    limited = replace(options, max_cost=first.cost)
    resumed = list(AnswerRun(questions(3), limited, out).results())
    again = list(AnswerRun(questions(3), limited, out, retry_errors=True).results())

    assert [r.error.type for r in results if r.error] == ["row_failed"] * 2
    assert [r.usage.small.completion > 0 for r in results] == [True] * 2
    assert [r.error.type for r in resumed if r.error] == ["out_of_budget"]
    assert [r.error.type for r in again if r.error] == ["out_of_budget"] * 3


def test_a_limit_on_cost_needs_a_price(options: AnswerOptions):
    free = replace(options, prices={}, max_cost=1.0)
    with pytest.raises(
        UsageError, match=r"big runs on this machine .* write in lmcot.toml, .*: \[prices\] .big. = "
    ):
        free.check()
    with pytest.raises(UsageError, match="--max-cost: openai:m has no price; to give it a price"):
        replace(free, large="openai:m").check()
    with pytest.raises(UsageError, match="--max-cost 0"):
        replace(options, max_cost=0.0).check()


def test_a_preview_counts_rows_and_shows_the_first_prompts_and_opens_no_model(options: AnswerOptions):
    source = BytesIO(questions(10).getvalue() + b"{torn\n")
    silent = "http://127.0.0.1:1/v1#nobody"
    nowhere = replace(options, small=silent, large=silent, samples=3)
    shown = preview(source, replace(nowhere, prices={silent: PRICE}))
    rationale, answer = shown.stages

    assert (shown.rows, shown.bad) == (10, 1)
    assert "Where is 0?" in rationale.request.prompt
    assert "the rationale that the small LM writes" in answer.request.prompt
    assert (rationale.requests, rationale.tokens.completion) == (30, 30 * 256)
    assert answer.tokens.prompt > rationale.tokens.prompt + 30 * 200
    assert answer.cost == PRICE.of(answer.tokens)


@pytest.mark.parametrize(("method", "stages"), [("standard", ["standard"]), ("cot", ["cot"])])
def test_a_preview_has_a_stage_for_each_model_that_is_asked(
    options: AnswerOptions, method: str, stages: list[str]
):
    shown = preview(questions(2), replace(options, method=method))

    assert [stage.stage for stage in shown.stages] == stages


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nope", "--large 'nope' names no model"),
        ("nope.gguf", "nope.gguf: no such model file"),
        ("scripted:nope", "the script cannot be read"),
        ("onnx:nope", r"has no \*.onnx file"),
        ("openai:", "names no model"),
        ("hf:a/b", "does not name a GGUF file"),
        ("builtin:nope", "no embedded model"),
    ],
)
def test_a_model_that_is_not_there_shows_in_the_preview(options: AnswerOptions, spec: str, message: str):
    with pytest.raises(LmcotError, match=message):
        preview(questions(2), replace(options, large=spec))


def test_there_is_nothing_to_preview_without_a_good_row(options: AnswerOptions):
    with pytest.raises(
        FirstRowsFailError, match="the first 2 rows all fail alike; row 1: the row has no rationale"
    ):
        preview(questions(2), replace(options, given_rationales=True))
