"""Rows of other people's files through a run: named columns, columns kept, templates that use them."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from lmcot_cli.datasets.options import RowOptions
from lmcot_cli.errors import OutputError, UsageError
from lmcot_cli.pipeline.answer import AnswerRun
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.pipeline.result import Result
from lmcot_cli.prompts.options import PromptOptions

RECORDS: list[dict[str, Any]] = [
    {"q": "Where?", "gold": "Lyon", "level": 3, "options": ["Lyon", "Nice"]},
    {"q": "Why?", "gold": "Nice", "z": "x"},
    {"q": None},
]


@pytest.fixture
def options(tmp_path: Path) -> AnswerOptions:
    script = tmp_path / "script.jsonl"
    script.write_text('{"match": "", "text": "Lyon"}\n')
    return AnswerOptions(method="standard", large=f"scripted:{script}", rows=RowOptions((("question", "q"),)))


def run(source: Path | bytes, options: AnswerOptions, output: Path | None = None) -> list[Result]:
    stream = BytesIO(source) if isinstance(source, bytes) else source
    return list(AnswerRun(stream, options, output).results())


def lines(records: list[dict[str, Any]] = RECORDS) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


@pytest.mark.parametrize(
    ("keep", "columns"),
    [
        ((), [{}, {}, {}]),
        (("level", "z"), [{"level": 3, "z": None}, {"level": None, "z": "x"}, {"level": None, "z": None}]),
        (("*",), [{"level": 3, "choices": ["Lyon", "Nice"]}, {"z": "x"}, {}]),
    ],
)  # fmt: skip
def test_columns_are_kept_whether_the_row_worked_or_not(
    options: AnswerOptions, keep: tuple[str, ...], columns: list[dict[str, Any]]
) -> None:
    results = run(lines(), replace(options, rows=replace(options.rows, keep_columns=keep)))
    assert [result.error is None for result in results] == [True, True, False]
    assert [result.to_record()["columns"] for result in results] == columns


def test_a_packed_file_is_answered_as_the_plain_one(options: AnswerOptions, tmp_path: Path) -> None:
    (tmp_path / "q.jsonl.gz").write_bytes(gzip.compress(lines()))
    assert run(tmp_path / "q.jsonl.gz", options) == run(lines(), options)


def test_a_column_that_one_row_lacks_fails_that_row(options: AnswerOptions, tmp_path: Path) -> None:
    (tmp_path / "standard.j2").write_text("{{ row.question }} {{ row.extra.choices | join(' or ') }}")
    first, second, _ = run(lines(), replace(options, prompting=PromptOptions(prompts=tmp_path)))
    assert first.answer == "Lyon"
    assert second.error and second.error.message.endswith(
        "standard.j2:1: row '2' has no other column 'choices' (it has z); if it may be missing: | default"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fields": (("question", "frage"),)}, r"^--fields question=frage: no row of .* has 'frage'"),
        ({"keep_columns": ("levle",)}, r"^--keep-columns levle: no row of"),
    ],
)
def test_wrong_names_are_told_before_a_model_is_opened(
    options: AnswerOptions, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    (tmp_path / "q.jsonl").write_bytes(lines())
    with pytest.raises(UsageError, match=message):
        run(
            tmp_path / "q.jsonl",
            replace(options, large=str(tmp_path / "none.gguf"), rows=RowOptions(**change)),
        )


@pytest.mark.parametrize(
    "change", [{"keep_columns": ("level",)}, {"fields": (("question", "q"), ("answer", "level"))}]
)
def test_a_resume_that_would_read_rows_otherwise_is_refused(
    options: AnswerOptions, tmp_path: Path, change: dict[str, Any]
) -> None:
    run(lines(), options, tmp_path / "out.jsonl")
    assert run(lines(), options, tmp_path / "out.jsonl") == []
    with pytest.raises(OutputError, match="was begun with other settings"):
        run(lines(), replace(options, rows=replace(options.rows, **change)), tmp_path / "out.jsonl")


def test_a_resume_notices_another_value_in_a_column(options: AnswerOptions, tmp_path: Path) -> None:
    run(lines(), options, tmp_path / "out.jsonl")
    changed = [RECORDS[0] | {"level": 4}, *RECORDS[1:]]
    with pytest.raises(OutputError, match="or another column"):
        run(lines(changed), options, tmp_path / "out.jsonl")
