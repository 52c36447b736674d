import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from lmcot_cli.errors import OutputError
from lmcot_cli.pipeline.result import Failure, Result, TokenCounts, Usage
from lmcot_cli.pipeline.run_file import RunFile, Totals, differing, read_run_file

RUN = RunFile(("lmcot", "answer"), "q.jsonl", {"samples": 5, "small": None}, {"threads": 2}, started="then")


def test_totals_count_records():
    usage = Usage(TokenCounts(1, 2), TokenCounts(3, 4))
    results = [
        Result("a", "?", "cot", answer="Lyon", usage=usage),
        Result("b", "?", "cot", usage=usage),
        Result("c", "?", "cot", error=Failure("bad_row", "broken")),
    ]
    totals = sum((Totals.of(result.to_record()) for result in results), Totals())

    assert (totals.rows, totals.answered, totals.unanswered, totals.failed) == (3, 1, 1, 1)
    assert totals.usage == usage + usage
    assert totals.to_record()["usage"]["large"] == {
        "prompt": 6, "completion": 8, "cached_prompt": 0, "cached_completion": 0,
    }  # fmt: skip


def test_a_run_file_is_read_back(tmp_path: Path):
    path = tmp_path / "out.run.json"
    RUN.ending(Totals(rows=2), None, finished=True).write(path)
    record = json.loads(path.read_text())
    previous = read_run_file(path)

    assert previous is not None
    assert (previous.settings, previous.started) == ({"samples": 5, "small": None}, "then")
    assert record["finished"] is True
    assert record["totals"]["rows"] == 2
    assert record["ended"] >= "2020"
    assert {"lmcot", "llama-cpp-python", "python"} == set(record["versions"])
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.run.json"]


def test_calls_of_all_sessions_are_added_up(tmp_path: Path):
    path = tmp_path / "out.run.json"
    RUN.ending(Totals(), {"requests": 5, "hedged": 1}, finished=False).write(path)
    previous = read_run_file(path)
    assert previous is not None
    assert previous.calls == {"requests": 5, "hedged": 1}
    replace(RUN, calls=previous.calls).ending(Totals(), {"requests": 2}, finished=True).write(path)
    assert json.loads(path.read_text())["calls"] == {"requests": 7, "hedged": 1}


def test_a_run_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path):
    path = tmp_path / "out.run.json"
    RUN.write(path)
    before = path.read_bytes()
    (tmp_path / f".out.run.json.{os.getpid()}.part").mkdir()

    with pytest.raises(OutputError, match=r"out\.run\.json: cannot be written: Is a directory"):
        RUN.write(path)
    assert path.read_bytes() == before


def test_no_run_file(tmp_path: Path):
    assert read_run_file(tmp_path / "none") is None


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"settings": 3, "started": ""}', b"\xff", b"[" * 100_000]
)
def test_what_is_no_run_file_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "out.run.json"
    path.write_bytes(content)

    with pytest.raises(OutputError, match=r"out\.run\.json: is not a run file.*--overwrite"):
        read_run_file(path)


def test_each_differing_setting_is_named():
    old = {"samples": 5, "small": None, "large": "a.gguf", "same": 1, "dropped": 2}
    new = {"samples": 1, "small": "b.gguf", "large": None, "same": 1, "fresh": True}

    assert differing(old, new) == [
        "samples 5 -> 1",
        "small null -> b.gguf",
        "large a.gguf -> null",
        "fresh null -> true",
    ]


def test_a_setting_of_a_later_version_differs_only_where_it_is_used():
    assert differing({}, {"choices": "", "shots": 0, "regex": None, "keep": False}) == []
    assert differing({}, {"answer": "text"}) == ["answer null -> text"]
    assert differing({"shots": 1}, {"shots": 0}) == ["shots 1 -> 0"]
