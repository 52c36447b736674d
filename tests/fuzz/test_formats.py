"""Mutated files of every format: rows, bad rows, or an error in one line, and never anything else.

LMCOT_FUZZ=N tries N times as many.
"""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from random import Random

import pytest

from lmcot_cli.datasets.options import RowOptions
from lmcot_cli.datasets.reader import read_rows
from lmcot_cli.errors import LmcotError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

TIMES = 150 * int(os.environ.get("LMCOT_FUZZ", "1"))
BITS = [
    b"\0", b"\xff", b'"', b"\n", b",", b"{", b"}", b"[", b"]", b"'", b"\\", b"\r", b"\xed\xa0\x80", b"NaN", b"1e999",
]  # fmt: skip
RECORDS = [
    {
        "id": str(number),
        "question": f"Wo ist {number}?",
        "context": [{"title": "T", "text": 'Text, "q" \n neu'}],
        "answers": {"text": ["a", "b"], "answer_start": [1, 2]},
        "score": 1.5,
    }
    for number in range(20)
]
CSV = "id,question,context,answer\n" + "".join(
    f"""{number},"Wo, {number}?","[[""T"", [""a b""]]]","['a', 'b']"\n""" for number in range(20)
)
NAMES = ["q.parquet", "q.csv", "q.csv.gz", "q.jsonl.zst", "list.json", "jq.json", "utf16.jsonl"]
FIELDS = RowOptions((("answer", "answers.text"), ("context", "context.0.text")), keep_columns=("score",))


def whole_files(folder: Path) -> dict[str, bytes]:
    pq.write_table(pa.Table.from_pylist(RECORDS), folder / "whole.parquet")
    lines = "\n".join(map(json.dumps, RECORDS))
    return {
        "q.parquet": (folder / "whole.parquet").read_bytes(),
        "q.csv": CSV.encode(),
        "q.csv.gz": gzip.compress(CSV.encode()),
        "q.jsonl.zst": pa.compress(lines.encode(), "zstd", asbytes=True),
        "list.json": json.dumps({"v": 1, "data": RECORDS}, indent=1).encode(),
        "jq.json": "\n".join(json.dumps(record, indent=1) for record in RECORDS).encode(),
        "utf16.jsonl": ("\ufeff" + lines).encode("utf-16"),
    }


def mutated(data: bytes, random: Random) -> bytes:
    for _ in range(random.choice([1, 1, 3, 20])):
        at = random.randrange(len(data)) if data else 0
        kind = random.randrange(4)
        if kind == 0:
            data = data[:at] + random.choice(BITS) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + random.randbytes(1) + data[at + 1 :]
        elif kind == 2:
            data = data[:at] + data[at + random.randrange(1, 50) :]
        else:
            data = data[:at]
    return data


@pytest.mark.parametrize("name", NAMES)
def test_a_mutated_file_is_an_error_in_one_line_at_worst(name: str, tmp_path: Path) -> None:
    whole, random, file = whole_files(tmp_path)[name], Random(name), tmp_path / name
    file.write_bytes(whole)
    assert len(list(read_rows(file))) == 20
    for _ in range(TIMES):
        file.write_bytes(mutated(whole, random))
        for options in (RowOptions(), FIELDS):
            try:
                list(read_rows(file, options))
            except LmcotError as error:
                assert "\n" not in str(error)
