"""`--keep-raw`: what a model replied, where the record would not show it."""

from __future__ import annotations

import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from lmcot_cli.backends.base import Completion
from lmcot_cli.errors import OutputError
from lmcot_cli.pipeline.answer import AnswerRun
from lmcot_cli.pipeline.journal import run_file_of
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.pipeline.replies import raw_of
from lmcot_cli.pipeline.result import KeepRaw, RawReply
from lmcot_cli.scoring.answers import read_answers

ROW = json.dumps({"id": "q", "question": "Where?", "context": "c", "answer": "Lyon"}).encode()


def record(tmp_path: Path, method: str, *lines: object, **more: Any) -> dict[str, Any]:
    script = tmp_path / "script.jsonl"
    replies = [line if isinstance(line, dict) else {"text": line} for line in lines]
    if method == "guided":  # each model reads the script from its beginning
        replies[0]["match"], replies[1]["match"] = "lead to the answer", ""
    script.write_text("\n".join(map(json.dumps, replies)))
    spec = f"scripted:{script}"
    options = AnswerOptions(method=method, small=spec, large=spec, **more)  # type: ignore[arg-type]
    [result] = AnswerRun(BytesIO(ROW), options).results()
    return result.to_record()


def raw(tmp_path: Path, method: str, *lines: object, **more: Any) -> dict[str, str]:
    [sample] = record(tmp_path, method, *lines, **more)["samples"]
    found: dict[str, str] = sample["raw"]
    return found


GUIDED = "Facts.\nAnswer: Nice", "**Answer:** Lyon (France)"
ALL_GUIDED = {"guided_rationale": GUIDED[0], "guided_answer": GUIDED[1]}


@pytest.mark.parametrize(
    ("method", "lines", "odd"),
    [
        ("standard", ["Lyon."], {}),
        ("standard", ["  Lyon\n"], {}),
        ("standard", ["The answer is Lyon."], {"standard": "The answer is Lyon."}),
        ("cot", ["It is. So the answer is Lyon."], {}),
        ("cot", ["It is.\nAnswer: Lyon"], {"cot": "It is.\nAnswer: Lyon"}),
        ("cot", ["Who knows?", "Lyon"], {}),
        ("cot", ["Who knows?", "I say Lyon"], {}),
        ("guided", ["Facts.", "Lyon"], {}),
        ("guided", GUIDED, ALL_GUIDED),
    ],
)
def test_odd_replies_are_kept_as_they_came(
    tmp_path: Path, method: str, lines: list[str], odd: dict[str, str]
) -> None:
    assert raw(tmp_path, method, *lines) == odd
    assert raw(tmp_path, method, *lines, keep_raw="none") == {}
    stages = {"standard": ["standard"], "cot": ["cot", "guided_answer"], "guided": list(ALL_GUIDED)}[method]
    assert raw(tmp_path, method, *lines, keep_raw="all") == dict(zip(stages, lines, strict=False))


def test_a_reply_without_an_answer_is_shown(tmp_path: Path) -> None:
    assert raw(tmp_path, "standard", "maybe", answer_kind="yes-no") == {"standard": "maybe"}
    assert raw(tmp_path, "standard", " ") == {"standard": " "}
    (schema := tmp_path / "s.json").write_text(
        '{"type": "object", "required": ["a"], "properties": {"a": {}}}'
    )
    assert raw(tmp_path, "standard", '{"b": 1}', answer_kind=f"json:{schema}") == {"standard": '{"b": 1}'}


def test_a_row_that_failed_shows_what_was_said_and_counts_as_before(tmp_path: Path) -> None:
    cut = {"text": "", "finish_reason": "length"}
    failed = record(tmp_path, "guided", "Facts.\nAnswer: Nice", cut)
    assert failed["error"]["type"] == "reply_cut"
    assert failed["answer"] is None and failed["votes"] == {}
    [sample] = failed["samples"]
    assert (sample["rationale"], sample["answer"]) == ("Facts.", None)
    assert sample["raw"] == {"guided_rationale": "Facts.\nAnswer: Nice", "guided_answer": ""}
    worked = record(tmp_path, "guided", "Facts.", "Lyon")
    assert list(failed) == list(worked)
    assert list(sample) == list(worked["samples"][0])
    (out := tmp_path / "out.jsonl").write_text(json.dumps(failed))
    assert read_answers(out)["q"].samples == ()


def test_thoughts_are_no_part_of_it() -> None:
    done = Completion("Lyon!", 1, 5, "stop", None)
    assert raw_of("standard", done, "Lyon", "odd") == (RawReply("standard", "Lyon!"),)


def test_an_output_of_before_is_gone_on_from_at_the_default(tmp_path: Path) -> None:
    script, out = tmp_path / "script.jsonl", tmp_path / "out.jsonl"
    script.write_text('{"match": "", "text": "Lyon"}')
    options = AnswerOptions(method="standard", large=f"scripted:{script}")
    list(AnswerRun(BytesIO(ROW), options, out).results())
    run_file = run_file_of(out)
    before = json.loads(run_file.read_text())
    for added in ("keep_raw", "truncate"):
        del before["settings"][added]
    run_file.write_text(json.dumps(before))
    old = json.loads(out.read_text())
    del old["truncated"], old["samples"][0]["raw"]
    out.write_text(json.dumps(old) + "\n")
    two = ROW + b"\n" + ROW.replace(b'"q"', b'"r"')
    keep: KeepRaw
    for keep in ("all", "none"):
        with pytest.raises(OutputError, match=f"keep_raw null -> {keep}"):
            list(AnswerRun(BytesIO(two), replace(options, keep_raw=keep), out).results())
    assert [result.id for result in AnswerRun(BytesIO(two), options, out).results()] == ["r"]
    assert len(read_answers(out)) == 2
