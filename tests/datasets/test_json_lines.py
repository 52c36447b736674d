"""The JSON stream: any values in any chunks, and every way an input can be broken."""

from __future__ import annotations

import io
import json
import random
import tracemalloc
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmcot_cli.datasets.json_lines import read_records
from lmcot_cli.datasets.record import BadRow, Record

ICONV = "; to convert a file from an older encoding: iconv -f WINDOWS-1252 -t UTF-8"
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
JSON_OBJECTS = st.dictionaries(st.text(), JSON_VALUES, max_size=4)


class Trickle(io.RawIOBase):
    """A stream that gives a few bytes at a time, as a pipe may."""

    def __init__(self, data: bytes, seed: int) -> None:
        self._inner, self._random = io.BytesIO(data), random.Random(seed)

    def read(self, size: int = -1) -> bytes:
        return self._inner.read(min(size, self._random.choice([1, 1, 2, 7, 60])) if size > 0 else size)

    def readline(self, size: int | None = -1) -> bytes:
        return self._inner.readline(size)


def read(data: bytes | str, **options: int) -> list[Record | BadRow]:
    return list(read_records(io.BytesIO(data.encode() if isinstance(data, str) else data), **options))


def outcome(record: Record | BadRow) -> tuple[int, Any]:
    return record.line, record.value if isinstance(record, Record) else str(record.error)


def only_error(data: bytes | str, **options: int) -> str:
    [bad] = read(data, **options)
    assert isinstance(bad, BadRow)
    return str(bad.error)


@given(st.lists(JSON_VALUES), st.booleans(), st.sampled_from([None, 0, 3]), st.integers(0, 99))
def test_array_gives_its_elements_however_it_arrives(
    values: list[Any], ascii_only: bool, indent: int | None, seed: int
) -> None:
    data = json.dumps(values, ensure_ascii=ascii_only, indent=indent).encode()
    records = list(read_records(cast(BinaryIO, Trickle(data, seed))))
    assert [record.line for record in records] == list(range(1, len(values) + 1))
    for value, record in zip(values, records, strict=True):
        if isinstance(value, dict):
            assert isinstance(record, Record) and record.value == value
        else:
            assert isinstance(record, BadRow) and "not a JSON object" in str(record.error)


@given(st.lists(JSON_OBJECTS), st.sampled_from(["\n", "\r\n", "\n\n \n"]), st.booleans())
def test_jsonl_gives_its_lines(values: list[dict[str, Any]], ending: str, byte_order_mark: bool) -> None:
    text = "".join(json.dumps(value, ensure_ascii=False) + ending for value in values)
    records = read(text.encode("utf-8-sig" if byte_order_mark else "utf-8"))
    assert [record.value for record in records if isinstance(record, Record)] == values
    step = ending.count("\n")
    assert [record.line for record in records] == [1 + step * index for index in range(len(values))]


@given(st.lists(JSON_OBJECTS, min_size=1, max_size=4), st.data())
def test_cut_array_gives_the_rows_before_the_cut_and_one_bad_row(
    values: list[dict[str, Any]], data: st.DataObject
) -> None:
    whole = json.dumps(values, ensure_ascii=False).encode()
    records = read(whole[: data.draw(st.integers(1, len(whole) - 1))])
    bad = records[-1]
    assert isinstance(bad, BadRow) and bad.line == len(records)
    before = [record.value for record in records if isinstance(record, Record)]
    assert before == values[: len(records) - 1]


@given(st.sampled_from([b"", b"[", b'[{"a": 1},', b'{"a": 1}\n']), st.binary(), st.integers(0, 99))
def test_no_bytes_raise_and_chunks_do_not_matter(start: bytes, data: bytes, seed: int) -> None:
    whole = [outcome(record) for record in read(start + data)]
    trickled = [outcome(record) for record in read_records(cast(BinaryIO, Trickle(start + data, seed)))]
    assert whole == trickled
    assert not any("\n" in found for _, found in whole if isinstance(found, str))


@pytest.mark.parametrize("data", [b"", b"\n \n", b"\xef\xbb\xbf", b"[]", b" [ ] \n"])
def test_nothing_in_nothing_out(data: bytes) -> None:
    assert read(data) == []


@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_last_line_needs_no_newline(ending: bytes) -> None:
    assert read(b'{"a": 1}\n{"a": 2}' + ending) == [Record({"a": 1}, 1), Record({"a": 2}, 2)]


def test_a_bad_line_leaves_the_others_alone() -> None:
    torn, good = read('{"question": "Who\n{"a": 1}')
    assert isinstance(torn, BadRow) and (torn.id, torn.line) == ("1", 1)
    assert torn.located("q.jsonl") == (
        "q.jsonl:1: not valid JSON: invalid control character (column 18); write one object a line"
    )
    assert good == Record({"a": 1}, 2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a": 1', "not valid JSON: expecting ',' delimiter (column 8); write one object a line"),
        (b'{"a": "\xff"}', "byte 8 of the line (0xff) is not UTF-8" + ICONV),
        (b"12", "not a JSON object but a number; every row is an object like {...}"),
        (b'{"a": "\\ud83d"}', "holds an escaped half of a surrogate pair, which is not a character"),
        (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", "the JSON is nested too deeply"),
        (b'{"a":' + b"9" * 5000 + b"}", "holds a number with too many digits"),
        (b'[{"a": "\xff"}]', "byte 8 of this element (0xff) is not UTF-8" + ICONV),
        (b'["\xff"]', "byte 2 of this element (0xff) is not UTF-8" + ICONV),
        (b'[{"a": "\\ud83d"}]', "holds an escaped half of a surrogate pair, which is not a character"),
        (b'[{"a":' + b"[" * 5000, "the JSON is nested too deeply; nothing after this is read"),
        (b'[{"a": "Wh', "the JSON array breaks off here: is the file cut short?"),
        (b"[", "the JSON array breaks off here: is the file cut short?"),
        (
            b"[{'a': 1}]",
            "not valid JSON: expecting property name enclosed in double quotes (character 2 of this element)"
            "; nothing after this is read",
        ),
    ],
)
def test_message_says_what_is_wrong(data: bytes, message: str) -> None:
    assert only_error(data) == message


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        ("", "the JSON array ends without its closing bracket: is the file cut short?"),
        (' {"b": 2}]', "found '{', not a comma or closing bracket; the rest is not read"),
        ('] {"b": 2}', "there is text after the end of the JSON array; it is not read"),
        (",]", "not valid JSON: expecting value (character 1 of this element); nothing after this is read"),
    ],
)
def test_array_that_does_not_end_well(tail: str, message: str) -> None:
    first, bad = read('[{"a": 1}' + tail)
    assert first == Record({"a": 1}, 1)
    assert isinstance(bad, BadRow) and (bad.line, str(bad.error)) == (2, message)


def test_half_a_character_after_the_array_is_seen() -> None:
    assert "text after the end" in only_error(b"[]\xc3")


def test_escaped_pair_is_one_character() -> None:
    assert read(b'{"a": "\\ud83d\\ude00"}') == [Record({"a": "\U0001f600"}, 1)]


def test_bytes_that_are_not_utf8_spoil_their_own_element_only() -> None:
    bad, good = read(b'[{"a": "\xc3"}, {"a": "\xc3\xa9"}]')
    assert isinstance(bad, BadRow) and good == Record({"a": "é"}, 2)


def test_a_long_line_is_skipped_whole() -> None:
    long = json.dumps({"a": "x" * 200_000})
    bad, good = read(f'{long}\n{{"b": 1}}\n', max_bytes=100)
    assert isinstance(bad, BadRow) and str(bad.error) == "the line is longer than 100 bytes"
    assert good == Record({"b": 1}, 2)


def test_limit_counts_the_line_and_not_its_end() -> None:
    line = json.dumps({"a": "x" * 10})
    assert read(f"{line}\n{line}", max_bytes=len(line)) == [Record(json.loads(line), n) for n in (1, 2)]


def test_a_long_element_ends_the_array() -> None:
    good, bad = read(json.dumps([{"a": 1}, {"a": "x" * 200_000}, {"a": 2}]), max_bytes=1000)
    assert good == Record({"a": 1}, 1)
    assert isinstance(bad, BadRow)
    assert str(bad.error).startswith("the element is longer than 1,000 characters or not JSON")


@pytest.mark.parametrize(("opening", "between", "closing"), [("", "\n", ""), ("[", ",", "]")])
def test_memory_does_not_grow_with_the_rows(opening: str, between: str, closing: str) -> None:
    rows = [json.dumps({"question": f"Who is {number}?", "context": "x" * 1000}) for number in range(4000)]
    data = (opening + between.join(rows) + closing).encode()
    stream = io.BytesIO(data)
    tracemalloc.start()
    try:
        count = sum(isinstance(record, Record) for record in read_records(stream))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 4000
    assert peak < len(data) / 4
