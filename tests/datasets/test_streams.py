"""The same rows from every encoding and packing of one text."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import logging
from pathlib import Path

import pytest

from lmcot_cli.datasets.reader import read_rows
from lmcot_cli.datasets.record import BadRow
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import InputError

QUESTION = "Gdzie „Orła” 北京 \u2028 w\u0085porcie?"
RECORDS = [
    {
        "id": 1,
        "question": QUESTION,
        "context": "Zażółć gęślą jaźń 🚢",
        "answer": "Gdynia",
    },
    {"id": 2, "question": "Where?", "context": "In Gdynia", "answer": "Gdynia"},
]
TEXT = "".join(json.dumps(record, ensure_ascii=False) + "\r\n" for record in RECORDS)


def rows(path: Path) -> list[Row | BadRow]:
    return list(read_rows(path))


@pytest.fixture
def expected() -> list[Row | BadRow]:
    return list(read_rows(io.BytesIO(TEXT.encode())))


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-16-le", "\ufeff"),
        ("utf-16-be", "\ufeff"),
        ("utf-16-le", ""),
        ("utf-16-be", ""),
        ("utf-32-le", "\ufeff"),
        ("utf-32-be", "\ufeff"),
    ],
)
def test_other_unicode_is_read_and_said_once(
    tmp_path: Path,
    encoding: str,
    mark: str,
    expected: list[Row | BadRow],
    caplog: pytest.LogCaptureFixture,
) -> None:
    file = tmp_path / "q.jsonl"
    file.write_bytes((mark + TEXT).encode(encoding))
    with caplog.at_level(logging.WARNING):
        assert rows(file) == expected
        assert rows(file) == expected
    [record] = caplog.records
    assert record.getMessage().startswith(f"{file}: is UTF-{encoding[4:6]}")
    assert "iconv -f" in record.getMessage()


def test_utf16_that_is_cut_within_a_character_spoils_its_line_only(tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    file.write_bytes(("\ufeff" + TEXT).encode("utf-16-le")[:-5])
    first, last = rows(file)
    assert isinstance(first, Row) and isinstance(last, BadRow)
    assert "is not UTF-8" in str(last.error)


def test_what_only_begins_as_utf32_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    file.write_bytes(b"\xff\xfe\0\0" + b"\xff" * 8)
    with pytest.raises(InputError, match=rf"^{file}: cannot be read: 'utf-32-le' codec"):
        rows(file)


def test_half_a_pair_in_utf16_spoils_its_line_only(tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    file.write_bytes(("\ufeff" + '{"a": "\ud83d"}\n' + TEXT).encode("utf-16-le", "surrogatepass"))
    assert [isinstance(row, Row) for row in rows(file)] == [False, True, True]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_gzip(tmp_path: Path, encoding: str, expected: list[Row | BadRow]) -> None:
    file = tmp_path / "q.jsonl.gz"
    file.write_bytes(gzip.compress(TEXT.encode(encoding)))
    assert rows(file) == expected
    file.rename(tmp_path / "whatever")  # the content says what it is
    assert rows(tmp_path / "whatever") == expected


def test_zstandard_of_several_frames(tmp_path: Path, expected: list[Row | BadRow]) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    file, data = tmp_path / "q.jsonl.zst", TEXT.encode()
    file.write_bytes(
        b"".join(pyarrow.compress(part, "zstd", asbytes=True) for part in (data[:50], data[50:]))
    )
    assert rows(file) == expected


@pytest.mark.parametrize("cut", [15, -12, -1])
@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_packed_file_that_breaks_off(tmp_path: Path, kind: str, cut: int) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    data = (TEXT * 20).encode()
    whole = gzip.compress(data) if kind == "gzip" else pyarrow.compress(data, "zstd", asbytes=True)
    file = tmp_path / "q"
    file.write_bytes(whole[:cut])
    with pytest.raises(InputError, match=rf"^{file}: cannot be read: "):
        rows(file)


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_packed_file_that_is_damaged(tmp_path: Path, kind: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    data = (TEXT * 20).encode()
    whole = bytearray(gzip.compress(data) if kind == "gzip" else pyarrow.compress(data, "zstd", asbytes=True))
    whole[10:16] = b"\xff" * 6  # a header: what stands after it may be damaged unseen
    file = tmp_path / "q"
    file.write_bytes(whole)
    with pytest.raises(InputError, match=rf"^{file}: cannot be read: "):
        rows(file)


def test_what_is_packed_otherwise_is_named(tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl.bz2"
    file.write_bytes(bz2.compress(TEXT.encode()))
    with pytest.raises(InputError, match=r"q\.jsonl\.bz2: is compressed by bzip2: decompress it first"):
        rows(file)


def test_an_old_encoding_is_named_with_the_way_out(tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    file.write_bytes('{"question": "Où?"}\n{"question": "Who?"}'.encode("cp1252"))
    bad, good = rows(file)
    assert isinstance(bad, BadRow) and isinstance(good, Row)
    assert str(bad.error).startswith("byte 16 of the line (0xf9) is not UTF-8") and "iconv" in str(bad.error)


def test_zero_bytes_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_bytes(bytes(100_000))
    with pytest.raises(
        InputError, match=r"q\.jsonl: begins with 65,536 zero bytes: it is not a file of JSON or CSV"
    ):
        list(read_rows(path))


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/urandom"])
def test_a_device_without_end_is_refused(device: str) -> None:
    with pytest.raises(InputError, match=f"{device}: is a device"):
        list(read_rows(Path(device)))
