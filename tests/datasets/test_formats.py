"""One set of rows in every format a file may have, and what is said of files that are broken."""

from __future__ import annotations

import csv
import gzip
import io
import json
import shutil
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmcot_cli.datasets.native import to_record
from lmcot_cli.datasets.options import RowOptions
from lmcot_cli.datasets.reader import read_rows
from lmcot_cli.datasets.record import BadRow
from lmcot_cli.datasets.row import Paragraph, Row
from lmcot_cli.errors import InputError, MissingExtraError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

SQUAD = {
    "version": "v2.0",
    "data": [
        {
            "title": "Orzel",
            "paragraphs": [
                {
                    "context": "Launched in Gdynia.",
                    "qas": [
                        {
                            "id": "a",
                            "question": "Where?",
                            "answers": [{"text": "Gdynia", "answer_start": 12}],
                        },
                        {"id": "b", "question": "Why?", "answers": [], "is_impossible": True},
                    ],
                }
            ],
        }
    ],
}
RECORDS: list[dict[str, Any]] = [
    {
        "id": "a",
        "question": "Where?",
        "context": [["Orzel", ["In Gdynia.", " Yes."]], ["", ["No."]]],
        "answer": "Gdynia",
    },
    {
        "id": "b",
        "question": 'Zażółć\n"gęślą", \u2028jaźń?',
        "context": [],
        "answer": ["x, y", "z"],
        "level": "3",
    },
]


def good(path: Path, **fields: str) -> list[Row]:
    rows = list(read_rows(path, RowOptions(tuple(fields.items()))))
    assert all(isinstance(row, Row) for row in rows), rows
    return [row for row in rows if isinstance(row, Row)]


def errors(path: Path) -> list[tuple[int, str]]:
    return [(row.line, str(row.error)) for row in read_rows(path) if isinstance(row, BadRow)]


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        list(read_rows(path))
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message.removeprefix(f"{path}: ")


def write_jsonl(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), "utf-8")


def write_array(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_text(json.dumps(records, indent=1), "utf-8")


def write_list_within(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_text(json.dumps({"version": 2, "data": records, "more": [1, {}]}, indent=1), "utf-8")


def write_list_on_a_line(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_text(json.dumps({"rows": records}), "utf-8")


def write_as_jq_does(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_text("\n".join(json.dumps(record, indent=2) for record in records), "utf-8")


def write_gzip(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, records)).encode()))


def write_csv(path: Path, records: list[dict[str, Any]], delimiter: str = ",") -> None:
    columns = dict.fromkeys(key for record in records for key in record)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, delimiter=delimiter)
        writer.writeheader()
        for record in records:
            writer.writerow({key: v if isinstance(v, str) else json.dumps(v) for key, v in record.items()})


def write_tsv(path: Path, records: list[dict[str, Any]]) -> None:
    write_csv(path, records, "\t")


def write_semicolons(path: Path, records: list[dict[str, Any]]) -> None:
    write_csv(path, records, ";")


def write_parquet(path: Path, records: list[dict[str, Any]]) -> None:
    objects = [
        record
        | {"context": [{"title": title, "sentences": texts} for title, texts in record["context"]]}
        | {"answer": [record["answer"]] if isinstance(record.get("answer"), str) else record.get("answer")}
        for record in records
    ]
    columns = dict.fromkeys(key for record in objects for key in record)
    pq.write_table(pa.table({key: [record.get(key) for record in objects] for key in columns}), path)


WRITERS: list[tuple[str, Callable[[Path, list[dict[str, Any]]], None]]] = [
    ("q.jsonl", write_jsonl),
    ("q", write_jsonl),
    ("q.json", write_array),
    ("q.json", write_list_within),
    ("q.json", write_list_on_a_line),
    ("q.json", write_as_jq_does),
    ("q.jsonl.gz", write_gzip),
    ("q.csv", write_csv),
    ("q.txt", write_csv),
    ("q.tsv", write_tsv),
    ("q.csv", write_semicolons),
    ("q.parquet", write_parquet),
    ("q", write_parquet),
]


def plain(row: Row) -> Row:
    """A row without what formats note differently: its place, and null for a column that is missing."""
    extra = type(row.extra)({key: value for key, value in row.extra.items() if value is not None})
    return replace(row, line=0, extra=extra)


@pytest.mark.parametrize(("name", "write"), WRITERS)
def test_every_format_gives_the_same_rows(
    name: str, write: Callable[[Path, list[dict[str, Any]]], None], tmp_path: Path
) -> None:
    write_jsonl(tmp_path / "expected.jsonl", RECORDS)
    write(tmp_path / name, RECORDS)
    rows = good(tmp_path / name)
    assert [plain(row) for row in rows] == [plain(row) for row in good(tmp_path / "expected.jsonl")]
    assert [row.line for row in rows] == [1, 2]


TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1).filter(
    str.strip
)
PLAIN_TEXT = TEXT.filter(lambda text: text[0] not in "[{")  # the rest is a list or may be one
ROWS = st.builds(
    Row,
    id=TEXT,
    question=TEXT,
    context=st.lists(
        st.builds(Paragraph, title=TEXT, sentences=st.lists(TEXT, min_size=1, max_size=2).map(tuple)),
        max_size=2,
    ).map(tuple),
    answers=st.lists(PLAIN_TEXT, max_size=2, unique=True).map(tuple),
    type=st.none() | TEXT,
    rationale=st.none() | TEXT,
    line=st.just(1),
)


@pytest.mark.parametrize("write", [write_csv, write_tsv, write_parquet, write_as_jq_does, write_list_within])
@given(rows=st.lists(ROWS, min_size=1, max_size=3))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_rows_come_back_from_every_format(
    write: Callable[[Path, list[dict[str, Any]]], None], rows: list[Row], tmp_path: Path
) -> None:
    suffix = {write_csv: "csv", write_tsv: "tsv", write_parquet: "parquet"}.get(write, "json")
    path = tmp_path / f"q.{suffix}"
    write(path, [to_record(row) for row in rows])
    assert [plain(row) for row in good(path)] == [plain(row) for row in rows]


@pytest.mark.parametrize("indent", [None, 1])
def test_squad_has_a_row_for_each_question(tmp_path: Path, indent: int | None) -> None:
    file = tmp_path / "dev.json"
    file.write_text(json.dumps(SQUAD, indent=indent))
    first, second = good(file)
    assert (first.id, first.question, first.answers, first.line) == ("a", "Where?", ("Gdynia",), 1)
    assert first.context == second.context == (Paragraph("", ("Launched in Gdynia.",)),)
    assert (second.id, second.answers, second.line) == ("b", (), 2)
    assert second.extra == {"title": "Orzel", "is_impossible": True}


def test_a_list_beside_a_question_is_a_column(tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    record = {"id": 1, "examples": [{"question": "B?"}], "question": "A?"}
    write_jsonl(file, [record, record | {"id": 2}])
    assert [(row.question, row.extra) for row in good(file)] == [
        ("A?", {"examples": [{"question": "B?"}]})
    ] * 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '{"data": [{"question": "A?"}',
            (2, "the JSON array ends without its closing bracket: is the file cut short?"),
        ),
        (
            '{"data": [{"question": "A?"}]',
            (2, "the JSON object around the list does not end properly: is the file cut short?"),
        ),
        (
            '{\n"data": [{"question": "A?"}], "b": }',
            (2, "the JSON object around the list does not end properly: is the file cut short?"),
        ),
        ('{\n"question": "A?"\n}\n{"question', (2, "the JSON breaks off here: is the file cut short?")),
        ('{\n"question": "A?"\n}\nor', (2, "found 'o' where an object should begin; the rest is not read")),
    ],
)
def test_documents_that_break_off(tmp_path: Path, text: str, expected: tuple[int, str]) -> None:
    file = tmp_path / "q.json"
    file.write_text(text)
    assert errors(file) == [expected]
    assert sum(isinstance(row, Row) for row in read_rows(file)) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("question,answer\nA?,x\nB?\nC?,y,z\n", [
            (2, "has 1 cells where the first line has 2: is a quote or separator missing?"),
            (3, "has 3 cells where the first line has 2: is a quote or separator missing?"),
        ]),
        ('question,answer\n"A?" b,x\nB?,y\n', [(1, "not valid CSV: ',' expected after '\"'")]),
        ('question,answer\nA?,x\n"B?,y\n', [(2, "not valid CSV: unexpected end of data")]),
    ],
)  # fmt: skip
def test_rows_of_a_table_that_are_broken(tmp_path: Path, text: str, expected: list[tuple[int, str]]) -> None:
    file = tmp_path / "q.csv"
    file.write_text(text)
    assert errors(file) == expected


def test_a_table_of_an_old_encoding_is_named_with_the_way_out(tmp_path: Path) -> None:
    file = tmp_path / "q.csv"
    file.write_bytes("question,answer\nOù?,x\nWho?,y\n".encode("cp1252"))
    [(line, message)] = errors(file)
    assert line == 1 and message.startswith("holds a byte (0xf9) that is not UTF-8") and "iconv" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("question,text,text\nA?,x,y\n", "has two columns 'text': rename one"),
        (
            "7,Where?,Gdynia\n8,When?,1938\n",
            "no column has a usual name, such as question, context or answer; the first line has 7",
        ),
        ('question,"ans\n', "the line of column names is not valid CSV: unexpected end of data"),
    ],
)
def test_tables_without_usable_names(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "q.csv"
    file.write_text(text)
    assert refusal(file).startswith(message)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffquestion;answer\r\nWhere?;Gdynia, x\r\n\r\n",
        "sep=;\nquestion;answer\nWhere?;Gdynia, x\n",
        ',question,answer\n0,Where?,"Gdynia, x"\n',
        'Question , Answer,level\nWhere?,"Gdynia, x",\n',
        "question\tanswer\nWhere?\tGdynia, x\n",
        'frage,antwort\nWhere?,"Gdynia, x"\n',
    ],
)
def test_tables_as_spreadsheets_write_them(tmp_path: Path, text: str) -> None:
    file = tmp_path / "q.csv"
    file.write_text(text, "utf-8")
    fields = {"question": "frage", "answer": "antwort"} if "frage" in text else {}
    [row] = good(file, **fields)
    assert (row.id, row.question, row.answers, row.context) == ("1", "Where?", ("Gdynia, x",), ())


def test_a_cell_that_never_ends_takes_no_memory(tmp_path: Path) -> None:
    file = tmp_path / "q.csv"
    file.write_text('question,answer\n"Who?' + "x" * 5000 + "\n" * 5000 + "\nB?,y\n")
    first = next(read_rows(file, max_row_bytes=1000))
    assert (
        isinstance(first, BadRow)
        and str(first.error) == "not valid CSV: field larger than field limit (1000)"
    )
    write_csv(file, [{"question": "A?", "context": "x" * 10**6}])  # more than csv takes by itself
    assert len(good(file)[0].context[0].text) == 10**6


def test_parquet_of_other_types(tmp_path: Path) -> None:
    file = tmp_path / "q.parquet"
    table = pa.table(
        {
            "id": [1, 2],
            "question": pa.array([b"When?", b"Who?"], pa.binary()),
            "answers": pa.array([{"text": ["1938"], "answer_start": [1]}, {"text": [], "answer_start": []}]),
            "day": [date(1938, 1, 15), None],
            "price": pa.array([Decimal("1.50"), None]),
            "score": [0.5, float("nan")],
            "raw": [b"\xff\xd8", None],
            "__index_level_0__": [3, 4],
        }
    )
    pq.write_table(table, file)
    first, second = good(file)
    assert (first.id, first.question, first.answers, second.answers) == ("1", "When?", ("1938",), ())
    assert first.extra == {"day": "1938-01-15", "price": "1.50", "score": 0.5, "raw": "/9g="}
    assert second.extra == dict.fromkeys(["day", "price", "score", "raw"])


def test_parquet_that_is_damaged_or_odd(tmp_path: Path) -> None:
    whole = tmp_path / "whole.parquet"
    write_parquet(whole, RECORDS)
    data = whole.read_bytes()
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(data[: len(data) // 2])
    assert refusal(cut).startswith("cannot be read as Parquet: ")
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(data[:8] + bytes(200) + data[208:])
    assert refusal(damaged).startswith("cannot be read as Parquet: ")
    packed = tmp_path / "q.parquet.gz"
    packed.write_bytes(gzip.compress(data))
    assert refusal(packed).startswith("Parquet is read only from a file")
    twice = tmp_path / "twice.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["A?"])] * 2, names=["question", "question"]), twice)
    assert refusal(twice) == "has two columns 'question': rename one"


def test_a_huge_row_of_parquet_is_refused_by_itself(tmp_path: Path) -> None:
    file = tmp_path / "q.parquet"
    pq.write_table(pa.table({"question": ["A?", "B?", "C?"], "context": ["x", "y" * 5000, "z"]}), file)
    first, second, third = read_rows(file, max_row_bytes=1000)
    assert isinstance(first, Row) and isinstance(third, Row) and third.line == 3
    assert isinstance(second, BadRow) and str(second.error) == "the row is longer than 1,000 bytes"


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"q.{kind}"
    records = [{"question": f"Who is {n}?", "context": [["", [f"{n}" * 300]]]} for n in range(3000)]
    (write_parquet if kind == "parquet" else write_csv)(file, records)
    del records
    tracemalloc.start()
    try:
        count = sum(isinstance(row, Row) for row in read_rows(file))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 3000
    assert peak < 2**20


@pytest.fixture
def dataset() -> Any:
    datasets = pytest.importorskip("datasets")
    names = datasets.ClassLabel(names=["no", "yes"])
    features = datasets.Features(
        {"question": datasets.Value("string"), "answer": names, "level": datasets.Value("int8")}
    )
    return datasets.Dataset.from_dict(
        {"question": ["A?", "B?"], "answer": [1, 0], "level": [1, None]}, features
    )


def test_a_folder_that_datasets_saved(tmp_path: Path, dataset: Any) -> None:
    dataset.save_to_disk(tmp_path / "saved")
    rows = good(tmp_path / "saved")
    assert [(row.question, row.answers, row.extra["level"], row.line) for row in rows] == [
        ("A?", ("yes",), 1, 1),
        ("B?", ("no",), None, 2),
    ]
    dataset.to_parquet(tmp_path / "q.parquet")
    assert good(tmp_path / "q.parquet") == rows


def test_folders_that_are_no_dataset(tmp_path: Path, dataset: Any) -> None:
    import datasets

    folder = tmp_path / "splits"
    datasets.DatasetDict(train=dataset, test=dataset).save_to_disk(folder)
    assert (
        refusal(folder)
        == f"holds several splits of a dataset (test, train): give one of them: {folder / 'test'}"
    )
    assert len(good(folder / "train")) == 2
    assert refusal(tmp_path).startswith("is a folder that datasets did not save")
    for damage in ("state.json", "dataset_info.json"):
        shutil.copytree(folder / "train", tmp_path / damage)
        (tmp_path / damage / damage).write_text('{"a": [')
        assert refusal(tmp_path / damage).startswith("cannot be read as a folder of datasets: ")
    [arrow] = (folder / "test").glob("*.arrow")
    arrow.write_bytes(arrow.read_bytes()[:100])
    assert refusal(folder / "test").startswith("cannot be read as a folder of datasets: ")


@pytest.mark.parametrize("name", ["q.parquet", "q.zst", "saved"])
def test_a_library_that_is_missing_is_named(
    name: str, tmp_path: Path, dataset: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_parquet(tmp_path / "q.parquet", RECORDS)
    (tmp_path / "q.zst").write_bytes(pa.compress(b"{}", "zstd", asbytes=True))
    dataset.save_to_disk(tmp_path / "saved")
    for module in ("pyarrow", "pyarrow.parquet", "datasets"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lmcot\[data\]'"):
        list(read_rows(tmp_path / name))


@pytest.mark.parametrize("name", ["q.jsonl", "q.csv", "q.parquet", "q"])
def test_an_empty_file_has_no_rows(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert list(read_rows(tmp_path / name)) == []


def test_standard_streams_are_json_whatever_they_hold() -> None:
    [bad, _] = read_rows(io.BytesIO(b"question,answer\nA?,x\n"))
    assert isinstance(bad, BadRow) and "not valid JSON" in str(bad.error)
