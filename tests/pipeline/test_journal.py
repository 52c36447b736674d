import json
import os
from pathlib import Path

import pytest

from lmcot_cli.errors import OutputError
from lmcot_cli.pipeline.journal import Journal, Recorded
from lmcot_cli.pipeline.result import Result
from lmcot_cli.pipeline.run_file import RunFile

RUN = RunFile(("lmcot", "answer"), "q.jsonl", {"samples": 5}, {})


def result(row_id: str) -> Result:
    return Result(row_id, "Who?", "cot", answer="Lyon")


def write(path: Path, *ids: str, finish: bool = False) -> None:
    with Journal(path) as journal:
        journal.begin(RUN)
        list(journal.records())
        for row_id in ids:
            journal.write(Recorded.of(result(row_id)))
        if finish:
            journal.finish()


def ids(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_bytes().splitlines()]


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def run_file(path: Path) -> dict[str, object]:
    loaded: dict[str, object] = json.loads(path.with_name(f"{path.name}.run.json").read_text())
    return loaded


def test_every_record_is_in_the_file_once_write_returns(tmp_path: Path):
    out = tmp_path / "out"
    with Journal(out) as journal:
        journal.begin(RUN)
        for count, row_id in enumerate("abc", 1):
            journal.write(Recorded.of(result(row_id)))
            assert len(out.read_bytes().splitlines()) == count
            assert run_file(out)["finished"] is False


def test_a_resume_goes_on_after_the_last_record_and_adds_up_the_totals(tmp_path: Path):
    out = tmp_path / "out"
    write(out, "a", "b")
    first = run_file(out)
    write(out, "c", finish=True)
    second = run_file(out)

    assert ids(out) == ["a", "b", "c"]
    assert (first["finished"], second["finished"]) == (False, True)
    assert second["totals"]["rows"] == 3
    assert second["started"] == first["started"]


@pytest.mark.parametrize("torn", [b"{", result("c").to_line()[:-1], b"\0" * 200_000])
def test_a_torn_last_line_is_cut(tmp_path: Path, torn: bytes):
    out = tmp_path / "out"
    write(out, "a", "b")
    whole = out.read_bytes()
    out.write_bytes(whole + torn)
    write(out)

    assert out.read_bytes() == whole


def test_an_output_that_holds_only_a_torn_line_starts_anew(tmp_path: Path):
    out = tmp_path / "out"
    write(out)
    out.write_bytes(b'{"id": "a", ')
    write(out, "a")

    assert ids(out) == ["a"]


def test_another_file_is_left_alone(tmp_path: Path):
    out = tmp_path / "notes.txt"
    out.write_text("mine, without a last newline")

    with pytest.raises(OutputError, match=r"notes\.txt: exists, but not notes\.txt\.run\.json"):
        Journal(out)
    assert out.read_text() == "mine, without a last newline"


@pytest.mark.parametrize("content", ["one", "one\ntwo", '{"note": 1}\n{"note"'])
def test_nothing_is_cut_off_another_file_beside_a_run_file(tmp_path: Path, content: str):
    out = tmp_path / "out"
    write(out, "a")
    out.write_text(content)
    with Journal(out) as journal, pytest.raises(OutputError, match="out:1: is not a result record"):
        journal.begin(RUN)
    assert out.read_text() == content


def test_overwrite_starts_anew_only_once_it_begins(tmp_path: Path):
    out = tmp_path / "out"
    out.write_text("old")
    with Journal(out, overwrite=True):
        pass
    assert out.read_text() == "old"

    with Journal(out, overwrite=True) as journal:
        journal.begin(RUN)
    assert out.read_text() == ""
    assert run_file(out)["settings"] == {"samples": 5}


def test_other_settings_are_refused_and_named(tmp_path: Path):
    out = tmp_path / "out"
    write(out, "a")
    before = out.read_bytes(), run_file(out)

    with Journal(out) as journal, pytest.raises(OutputError, match=r"\(samples 5 -> 9\).*--overwrite"):
        journal.begin(RunFile((), "q.jsonl", {"samples": 9}, {}))
    assert (out.read_bytes(), run_file(out)) == before


def test_an_empty_output_takes_any_settings(tmp_path: Path):
    out = tmp_path / "out"
    write(out)
    with Journal(out) as journal:
        journal.begin(RunFile((), "q.jsonl", {"samples": 9}, {}))

    assert run_file(out)["settings"] == {"samples": 9}


def test_a_line_that_is_no_record_is_named(tmp_path: Path):
    out = tmp_path / "out"
    write(out, "a", "b")
    out.write_bytes(out.read_bytes().replace(b'"id": "b"', b'"ID": "b"'))

    with pytest.raises(OutputError, match=r"out:2: is not a result record"):
        write(out)


def test_two_processes_cannot_write_one_output(tmp_path: Path):
    out = tmp_path / "out"
    with Journal(out), pytest.raises(OutputError, match="another lmcot is writing to it"):
        Journal(out)
    with Journal(out):
        pass


def test_an_output_that_never_began_leaves_nothing_behind(tmp_path: Path):
    with Journal(tmp_path / "out"):
        pass

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none/out", "no such folder: mkdir -p .*none"),
        (".", "cannot be written: Is a directory"),
        ("fifo", "is not a regular file"),
    ],
)
def test_what_cannot_be_an_output_is_said_at_once(tmp_path: Path, name: str, message: str):
    os.mkfifo(tmp_path / "fifo")

    with pytest.raises(OutputError, match=message):
        Journal(tmp_path / name)


def test_no_file_descriptor_is_left_open(tmp_path: Path):
    other = tmp_path / "other"
    other.write_text("x")
    before = open_files()
    write(tmp_path / "out", "a")
    for _ in range(3):
        with pytest.raises(OutputError):
            Journal(other)
        with Journal(tmp_path / "out"), pytest.raises(OutputError):
            Journal(tmp_path / "out")

    assert open_files() == before


@pytest.mark.parametrize("replaced", [False, True])
def test_an_output_that_is_taken_away_ends_the_run(tmp_path: Path, replaced: bool):
    out = tmp_path / "out"
    with pytest.raises(OutputError, match="was removed, moved or replaced while"), Journal(out) as journal:
        journal.begin(RUN)
        journal.write(Recorded.of(result("a")))
        out.unlink()
        if replaced:
            out.touch()
        journal.write(Recorded.of(result("b")))


@pytest.mark.parametrize(
    "odd",
    [
        {"id": ["a"]},
        {"id": 1},
        {"question": {}},
        {"samples": ["x"]},
        {"samples": "xy"},
        {"samples_saved": "x"},
        {"samples_saved": -1},
        {"usage": {"small": {"prompt": "x"}, "large": {}}},
        {"usage": {"small": {"prompt": []}, "large": {}}},
        {"error": "x"},
        {"error": []},
    ],
)
def test_a_record_that_somebody_else_wrote_is_refused_in_a_line_where_a_value_is_of_another_kind(
    tmp_path: Path, odd: dict[str, object]
):
    out = tmp_path / "out"
    write(out, "a")
    out.write_bytes(json.dumps(json.loads(out.read_bytes()) | odd).encode() + b"\n")
    with pytest.raises(OutputError, match=r"out:1: is not a result record of lmcot"):
        write(out, "b")
