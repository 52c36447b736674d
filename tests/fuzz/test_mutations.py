"""Mutated input lines, settings files, prompt templates and GGUF headers: an error in one line at worst.

CI tries some hundreds of each. LMCOT_FUZZ=N tries N times as many; 50 makes 50,000 lines, 5,000 settings and prompt
files, and 2,000 headers that are loaded and 20,000 that are read.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama.header_checks import check_shape
from lmcot_cli.backends.llama.memory import memory_estimate
from lmcot_cli.config import answer_options, load_config
from lmcot_cli.datasets.microhop import MicroHopOptions, records
from lmcot_cli.datasets.reader import read_rows
from lmcot_cli.datasets.record import BadRow
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import InputError, LmcotError
from lmcot_cli.model_files.gguf_header import _Cursor, read_header
from lmcot_cli.models import embedded
from lmcot_cli.pipeline.answer import AnswerRun
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.prompts.render import Prompts
from tests.fuzz.mutation import mutated

TIMES = int(os.environ.get("LMCOT_FUZZ", "1"))
LINES, FILES, HEADERS = 1000 * TIMES, 100 * TIMES, 40 * TIMES

CONFIG = """\
[models]
big = "openai:gpt-4o-mini"
[prices]
big = { prompt = 0.15, completion = 0.6 }
[answer]
method = "guided"
samples = 5
temperature = 0.7
stop = "beta:0.95"
parallel = "auto"
rpm = 60
"""

VALUES: list[tuple[int, bytes]] = [
    *((4, struct.pack("<I", number)) for number in (0, 1, 2, 3, 500, 2**32 - 1)),
    *((10, struct.pack("<Q", number)) for number in (0, 1, 30, 2**64 - 1)),
    (5, struct.pack("<i", -1)),
    *((6, struct.pack("<f", number)) for number in (0.0, -1.0, 1e-5, float("nan"), float("inf"))),
    (7, b"\1"),
    *(
        (8, struct.pack("<Q", len(text)) + text)
        for text in (b"", b"two", b"9" * 5000, b"a\nb\x1b[2J", b"\xff")
    ),
    *(
        (9, struct.pack("<IQ", 4, len(items)) + struct.pack(f"<{len(items)}I", *items))
        for items in ((), (1, 2, 3))
    ),
    (9, struct.pack("<IQ", 8, 2) + 2 * (struct.pack("<Q", 1) + b"a")),
    (9, struct.pack("<IQ", 6, 1) + struct.pack("<f", 0.5)),
]
"""Values of every type that a GGUF header has, each with its type's number."""

NAMES = [
    b"",
    b"blk.0.",
    b"blk.999999.x",
    b"blk." + b"9" * 5000 + b".x",
    b"blk.-1.",
    "blk.².x".encode(),
    b"blk.\xff.x",
]

LOAD = """\
import resource, sys
from pathlib import Path
from lmcot_cli.backends.llama.backend import LlamaBackend
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.errors import LmcotError
for name in sys.argv[1:]:
    try:
        LlamaBackend(Path(name), EngineOptions(threads=1, parallel=1, n_ctx=64)).close()
    except LmcotError:
        pass
    print(name, flush=True)
"""


def lines(random: Random) -> Iterator[bytes]:
    """Yield mutated questions, a line each."""
    made = list(records(MicroHopOptions(rows=20, seed=1)))
    native = [
        {"id": "a", "question": "Who?", "context": ["x", "y"], "answer": ["z"]},
        {"question": "?", "context": ""},
    ]
    texts = [json.dumps(one).encode() for one in [*made, *native, *native, *native]]
    for _ in range(LINES):
        yield mutated(random.choice(texts), random).replace(b"\n", b" ")


def test_every_mutated_line_is_a_row_or_a_bad_one_in_its_place(tmp_path: Path):
    mutants = [line for line in lines(Random(7)) if line.strip()]
    path = tmp_path / "q.jsonl"
    path.write_bytes(b'{"question": "?", "context": "c"}\n' + b"\n".join(mutants))
    rows = list(read_rows(path))
    bad = [row for row in rows if isinstance(row, BadRow)]

    assert len(rows) == 1 + len(mutants)
    assert all(isinstance(row, Row | BadRow) for row in rows)
    assert 0.2 < len(bad) / len(rows) < 0.95
    assert all("\n" not in str(row.error) for row in bad)


def test_every_mutated_line_ends_as_an_answer_or_an_error_record(tmp_path: Path):
    mutants = [line for line in lines(Random(8)) if line.strip()]
    (tmp_path / "q.jsonl").write_bytes(b'{"question": "?", "context": "c"}\n' + b"\n".join(mutants))
    (tmp_path / "script.jsonl").write_text('{"match": "", "text": "yes"}')
    options = AnswerOptions(method="standard", large=f"scripted:{tmp_path / 'script.jsonl'}")
    run = AnswerRun(tmp_path / "q.jsonl", options, tmp_path / "out")
    results = list(run.results())

    assert len(results) == 1 + len(mutants)
    assert all((result.answer is None) == (result.error is not None) for result in results)
    kept = [json.loads(line) for line in (tmp_path / "out").read_bytes().splitlines()]
    assert [record["id"] for record in kept] == [result.id for result in results]


def test_every_mutated_settings_file_is_read_or_refused_in_a_line(tmp_path: Path):
    random, path, refused = Random(9), tmp_path / "lmcot.toml", 0
    for _ in range(FILES):
        path.write_bytes(mutated(CONFIG.encode(), random))
        try:
            answer_options(load_config(path), {}).check()
        except LmcotError as error:
            refused += 1
            assert len(str(error)) < 5000
    assert FILES / 4 < refused <= FILES


def test_every_mutated_template_renders_or_is_refused(tmp_path: Path):
    random, refused = Random(10), 0
    row = Row("1", "Who?", (), ("x",), None, None, 1)
    source = Path(sys.modules[Prompts.__module__].__file__ or "").parent
    templates = {name: (source / f"{name}.j2").read_bytes() for name in ("standard", "cot", "guided_answer")}
    for number in range(FILES):
        folder = tmp_path / str(number)
        folder.mkdir()
        name = random.choice(list(templates))
        (folder / f"{name}.j2").write_bytes(mutated(templates[name], random))
        try:
            Prompts(folder).render(name, row, "because")  # type: ignore[arg-type]
        except InputError:
            refused += 1
    assert 0 < refused < FILES


class Header(NamedTuple):
    """The parts of a GGUF file: counts, keys with their values, names of tensors with the rest, bytes of weights."""

    start: bytes
    pairs: list[tuple[bytes, bytes]]
    tensors: list[tuple[bytes, bytes]]
    weights: int

    @classmethod
    def of(cls, path: Path) -> Header:
        """Take a file apart."""
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            cursor = _Cursor(data, path, 8)
            tensors, keys = cursor.scalar("<Q"), cursor.scalar("<Q")
            pairs = [cls._pair(cursor, lambda: cursor.value(cursor.scalar("<I"))) for _ in range(keys)]
            infos = [cls._pair(cursor, lambda: _skip_tensor(cursor)) for _ in range(tensors)]
            return cls(data[:24], pairs, infos, len(data) - cursor.at)

    @staticmethod
    def _pair(cursor: _Cursor, skip: Callable[[], object]) -> tuple[bytes, bytes]:
        name = cursor.take(cursor.scalar("<Q"))
        start = cursor.at
        skip()
        return name, cursor.data[start : cursor.at]

    def write_mutated(self, path: Path, random: Random) -> None:
        """Give one to three keys or tensors another value or name, and write all, with zeros for weights."""
        pairs, tensors = self.pairs.copy(), self.tensors.copy()
        for _ in range(random.randint(1, 3)):
            if random.random() < 0.8:
                place, (kind, value) = random.randrange(len(pairs)), random.choice(VALUES)
                pairs[place] = pairs[place][0], struct.pack("<I", kind) + value
            else:
                place = random.randrange(len(tensors))
                tensors[place] = random.choice(NAMES), tensors[place][1]
        head = self.start + b"".join(
            struct.pack("<Q", len(name)) + name + rest for name, rest in pairs + tensors
        )
        path.write_bytes(head)
        os.truncate(path, len(head) + self.weights + 32)


def _skip_tensor(cursor: _Cursor) -> None:
    cursor.take(8 * cursor.scalar("<I") + 12)


def test_every_header_of_odd_values_is_read_or_refused_in_a_line(tmp_path: Path):
    random, refused = Random(12), 0
    whole, path = Header.of(embedded.path_of("builtin:small")), tmp_path / "odd.gguf"
    for _ in range(10 * HEADERS):
        whole.write_mutated(path, random)
        try:
            check_shape(path, read_header(path))
            memory_estimate(path, EngineOptions(threads=1, parallel=1))
        except LmcotError as error:
            refused += 1
            assert "\n" not in str(error)
    assert HEADERS < refused < 10 * HEADERS


def test_no_mutated_header_crashes_the_process(tmp_path: Path):
    random = Random(11)
    whole = embedded.path_of("builtin:small").read_bytes()
    names = []
    for number in range(HEADERS):
        head = bytearray(whole)
        for _ in range(random.randint(1, 3)):
            place = random.randrange(4, 2200)
            head[place : place + random.choice((1, 4, 8))] = random.choice(
                (random.randbytes(8), b"\xff" * 8, b"\x00" * 8, (2**31).to_bytes(8, "little"))
            )[: random.choice((1, 4, 8))]
        path = tmp_path / f"{number}.gguf"
        path.write_bytes(head)
        names.append(str(path))
    for start in range(0, len(names), 200):
        batch = names[start : start + 200]
        done = subprocess.run(
            [sys.executable, "-c", LOAD, *batch], capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, f"after {done.stdout.split()[-1:]}: {done.stderr[-500:]}"
        assert done.stdout.split() == batch
