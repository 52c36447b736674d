"""Questions in every layout: JSON lines, arrays and documents, tables, packed files, and lists within strings."""

from __future__ import annotations

import gzip
import io
import json
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from lmcot_cli.datasets import json_window, native
from lmcot_cli.datasets.json_lines import read_records
from lmcot_cli.datasets.layouts import to_row
from lmcot_cli.datasets.names import USUAL
from lmcot_cli.datasets.options import RowOptions
from lmcot_cli.datasets.reader import read_rows
from lmcot_cli.datasets.record import JSON, BadRow, Record
from lmcot_cli.datasets.row import Row
from lmcot_cli.datasets.summary import summarize
from lmcot_cli.datasets.tables import delimiter_of, read_table
from lmcot_cli.datasets.unpack import unpacked_or_none
from lmcot_cli.errors import InputError, UsageError
from tests.fuzz.target import Target, folder_of, text_of

FIELDS = RowOptions((("answer", "answers.text"), ("context", "context.0.text")), keep_columns=("*",))
HOTPOTQA = {
    "_id": "5a8b", "question": "Who?", "answer": "yes", "type": "bridge",
    "context": [["Lyon", ["It is here.", " It is big."]], ["Paris", ["It is there."]]],
    "supporting_facts": [["Lyon", 1], ["Paris", 7]],
}  # fmt: skip
RECORDS: tuple[dict[str, Any], ...] = (
    {"id": "a", "question": "Who?", "context": ["x", "y"], "answer": ["z"], "rationale": "r", "choices": ["z", "w"]},
    HOTPOTQA,
    {**HOTPOTQA, "evidences": [["a", "b", "c"]], "answer_id": "Q1", "aliases": ["si"]},
    {
        "id": "2hop__1", "question": "?", "answer": "a", "answer_aliases": ["b"], "answerable": True,
        "paragraphs": [{"idx": 0, "title": "T", "paragraph_text": "p", "is_supporting": True}],
        "question_decomposition": [{"id": 1, "question": "q", "answer": "a"}],
    },
    {"question": "?", "context": {"title": ["a"], "sentences": [["s"]]},
     "answers": {"text": ["a"], "answer_start": [1]}},
    {"query": "?", "options": {"A": "x", "B": "y"}, "answer": "B", "passages": "[{'title': 'T', 'text': 'b'}]"},
    {"data": [{"title": "T", "paragraphs": [{"context": "c", "qas": [{"id": "1", "question": "?", "answers": []}]}]}]},
)  # fmt: skip
LINES = tuple(json.dumps(record).encode() for record in RECORDS)
CSV = b'id,question,context,answer\n1,"Wo, wo?","[[""T"", [""a b""]]]","[\'a\', \'b\']"\n2,,x\n'


def rows(data: bytes) -> None:
    """Read a stream of JSON; what is a row must have the text that its record has."""
    for row in read_rows(io.BytesIO(data)):
        check(row)
    with suppress(UsageError):  # no row may have what is named
        for row in read_rows(io.BytesIO(data), FIELDS):
            check(row)


def check(row: Row | BadRow) -> None:
    """Hold a row to what the rest of the program takes for granted."""
    if isinstance(row, BadRow):
        assert "\n" not in str(row.error)
        return
    assert row.id and row.question.strip() and all(answer.strip() for answer in row.answers)
    json.dumps(native.to_record(row), ensure_ascii=False).encode()
    assert all(place < len(row.context) for place in row.supporting)


def written_again(data: bytes) -> None:
    """Make rows of records and records of rows: what is read from a written row is that row. Count what there is."""
    summarize(read_records(io.BytesIO(data)), 2)
    for record in read_records(io.BytesIO(data)):
        row = to_row(record) if isinstance(record, Record) else record
        if isinstance(row, Row):
            again = native.to_row(json.loads(json.dumps(native.to_record(row))), row.line, USUAL)
            assert (again.id, again.question, again.context) == (row.id, row.question, row.context)
            assert again.answers == row.answers or row.extra
            assert again.rationale == row.rationale


def arrays(data: bytes) -> None:
    """Read an array through a window of whatever size: as `json` reads it, if that can. Hold elements to a length."""
    text = b"[" + data
    found = list(read_records(io.BytesIO(text)))
    for whole in (text, data):
        for one in read_records(io.BytesIO(whole), 40):
            assert isinstance(one, BadRow) or len(repr(one.value)) < 400
    with patch.object(json_window, "CHUNK_BYTES", 3):
        assert [shown(one) for one in read_records(io.BytesIO(text))] == [shown(one) for one in found]
    try:
        whole = JSON.decode(text.decode())
    except (ValueError, RecursionError):
        return
    if all(isinstance(one, dict) for one in whole) and b"\\u" not in text:
        assert repr([one.value for one in found if isinstance(one, Record)]) == repr(whole)


def shown(one: Record | BadRow) -> str:
    """Show a record so that two can be compared: the words of an error tell where a window broke off."""
    return repr(one.value) if isinstance(one, Record) else "bad"


def tables(data: bytes) -> None:
    """Read a file that is called CSV, TSV or nothing known."""
    for name in ("q.csv", "q.tsv", "q.txt"):
        if delimiter := delimiter_of(Path(name), data):
            with suppress(InputError):  # its first line names no columns
                for record in read_table(io.BytesIO(data), delimiter, name, {}, 2**20):
                    check(to_row(record) if isinstance(record, Record) else record)


def files(data: bytes) -> None:
    """Read a file whose beginning tells what it is: packed, of another encoding, a table or JSON."""
    with folder_of(q_jsonl=data) as folder:
        for row in read_rows(folder / "q.jsonl"):
            check(row)


def strings(data: bytes) -> None:
    """Read a list or an object that stands in a string."""
    json.dumps(unpacked_or_none(text_of(data)))


TARGETS = {
    "rows": Target(rows, (b"\n".join(LINES), *LINES[:3], b'{"data": [' + LINES[0] + b"]}")),
    "rows_records": Target(written_again, LINES),
    "rows_arrays": Target(
        arrays,
        (
            b",".join(LINES) + b"]",
            b'{"a": 1.5}, {"a": "\\u00e9"}]',
            b"]",
            b'{\n"question": "?"\n}\n{"a": [1]}',
        ),
    ),
    "rows_tables": Target(tables, (CSV, CSV.replace(b",", b"\t"), b"sep=;\nquestion;answer\na;b\n")),
    "rows_files": Target(
        files,
        (CSV, gzip.compress(LINES[0], mtime=0), ("\ufeff" + '{"question": "?"}').encode("utf-16"), LINES[1]),
        widens=False,
    ),
    "rows_strings": Target(strings, (b"['a', \"b\"]", b'[["T", ["a"]]]', b"{'a': (1, 2)}", b"array(['a'])")),
}
