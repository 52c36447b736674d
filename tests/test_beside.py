"""What lies beside an output may come from a stranger, under a name that lmcot is about to use."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lmcot_cli.beside import new_file, read_regular
from lmcot_cli.errors import OutputError
from lmcot_cli.pipeline.ahead import Ahead
from lmcot_cli.pipeline.journal import Journal
from lmcot_cli.pipeline.result import Result
from lmcot_cli.pipeline.run_file import PreviousRun, RunFile, read_run_file
from lmcot_cli.pipeline.session import open_retry

RUN = RunFile(("lmcot", "answer"), "q.jsonl", {"samples": 5}, {})
RECORD: dict[str, Any] = json.loads(Result("a", "Who?", "cot", answer="Lyon").to_line())


@pytest.fixture
def precious(tmp_path: Path) -> Iterator[Path]:
    """A file that is not to be written to."""
    file = tmp_path / "precious"
    file.write_text("one\ntwo\n")
    yield file
    assert file.read_text() == "one\ntwo\n"


def test_a_new_file_takes_the_place_of_a_link(tmp_path: Path, precious: Path) -> None:
    (tmp_path / "new").symlink_to(precious)
    with new_file(tmp_path / "new") as file:
        file.write(b"x")
    assert not (tmp_path / "new").is_symlink()
    assert (tmp_path / "new").read_bytes() == b"x"


def test_a_journal_writes_through_no_link_beside_it(tmp_path: Path, precious: Path) -> None:
    (tmp_path / ".out.run.json.tmp").symlink_to(precious)
    with Journal(tmp_path / "out") as journal:
        journal.begin(RUN)
    assert read_run_file(tmp_path / "out.run.json") is not None


def test_a_retry_writes_through_no_link(tmp_path: Path, precious: Path) -> None:
    (tmp_path / ".out.retry").symlink_to(precious)
    with Journal(tmp_path / "out") as journal, pytest.raises(OutputError, match=r"\.out\.retry: cannot be"):
        open_retry(journal)


def test_rows_that_are_ahead_are_kept_through_no_link(tmp_path: Path, precious: Path) -> None:
    (tmp_path / ".out.tmp").symlink_to(precious)
    Ahead(tmp_path / "out", PreviousRun({}, "")).keep([Result("b", "Who?", "cot", answer="Lyon")])
    assert set(Ahead(tmp_path / "out", PreviousRun({}, "")).rows) == {"b"}


def test_nothing_waits_for_a_pipe(tmp_path: Path) -> None:
    for name in (".out.ahead", "out.run.json"):
        os.mkfifo(tmp_path / name)
    assert Ahead(tmp_path / "out", PreviousRun({}, "")).rows == {}
    with pytest.raises(OutputError, match="is no regular file"):
        read_run_file(tmp_path / "out.run.json")


def test_a_device_is_not_read() -> None:
    with pytest.raises(OSError, match="regular"):
        read_regular(Path("/dev/zero"))


@pytest.mark.parametrize(
    "odd",
    [
        {"samples": [1]},
        {"id": ["a"]},
        {"samples_saved": "1"},
        {"samples_saved": 1.5},
        {"usage": {"small": {"prompt": "x"}, "large": {}}},
    ],
)
def test_a_record_of_other_kinds_is_none(tmp_path: Path, odd: dict[str, Any]) -> None:
    out, run = tmp_path / "out", PreviousRun({}, "")
    with Journal(out) as journal:
        journal.begin(RUN)
    line = json.dumps({**RECORD, **odd})
    out.write_text(line + "\n")
    with Journal(out) as journal, pytest.raises(OutputError, match="out:1: is no result record"):
        list(journal.records())
    (tmp_path / ".out.ahead").write_text(f"{json.dumps({'settings': {}, 'started': ''})}\n{line}\n")
    assert Ahead(out, run).rows == {}
