"""The run folder: what it holds, whom it belongs to, and who may write to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lmcot_cli.errors import InputError, OutputError
from lmcot_train.run_folder import RunFolder, RunRecord

RECORD = RunRecord(
    kind="distill",
    base="ORG/NAME",
    base_digest="sha256:1",
    settings={"epochs": 3},
    seeds={"distill": 0},
    data={"rationales.jsonl": "sha256:2"},
)


def begun(path: Path) -> RunFolder:
    run = RunFolder(path)
    with run.opened(RECORD):
        pass
    return run


def test_a_record_reads_back_as_it_was_written(tmp_path: Path) -> None:
    run = begun(tmp_path / "a" / "run")
    assert run.read() == RECORD
    run.finish(RECORD, {"steps": 7})
    record = run.read_finished()
    assert (record.finished, record.results) == (True, {"steps": 7})
    assert record.ended is not None


def test_an_unfinished_run_is_nothing_to_go_on_from(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    with pytest.raises(InputError, match="not finished: run its command again"):
        run.read_finished()
    with pytest.raises(InputError, match="is no run of lmcot"):
        RunFolder(tmp_path / "elsewhere").read()


@pytest.mark.parametrize("content", ["", "[]", '{"format": 2}', '{"format": 1, "kind": "distill"}'])
def test_a_file_that_is_no_record_is_said_to_be_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(InputError, match="is no run file"):
        RunFolder(tmp_path).read()


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (replace(RECORD, settings={"epochs": 4}), "epochs 3 -> 4"),
        (replace(RECORD, seeds={"distill": 1}), "seed of distill 0 -> 1"),
        (replace(RECORD, base_digest="sha256:9"), "base_digest sha256:1 -> sha256:9"),
        (replace(RECORD, data={"rationales.jsonl": "sha256:9"}), "rationales.jsonl sha256:2 -> sha256:9"),
    ],
)
def test_another_run_is_refused_by_what_differs(tmp_path: Path, other: RunRecord, named: str) -> None:
    run = begun(tmp_path / "run")
    with pytest.raises(OutputError, match=named), run.opened(other):
        pass
    assert run.read() == RECORD


def test_a_base_that_was_moved_is_the_same_base(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    with run.opened(replace(RECORD, base="elsewhere/base")) as kept:
        assert kept.base == "ORG/NAME"


def test_overwriting_removes_what_a_run_consists_of_and_nothing_else(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    run.adapter.mkdir()
    for file in (run.adapter / "weights", run.metrics, run.path / "notes.txt"):
        file.write_text("x")
    with run.opened(replace(RECORD, settings={"epochs": 4}), overwrite=True):
        assert sorted(path.name for path in run.path.iterdir()) == ["notes.txt", "run.json"]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with (
        pytest.raises(OutputError, match="holds something other than a run"),
        RunFolder(tmp_path).opened(RECORD),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_two_cannot_train_into_one_folder(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    another = RunFolder(tmp_path / "run").opened(RECORD)
    with run.opened(RECORD), pytest.raises(OutputError, match="another lmcot trains into it"), another:
        pass
    with run.opened(RECORD):
        pass


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OutputError, match="cannot be made"),
        RunFolder(tmp_path / "file" / "run").opened(RECORD),
    ):
        pass
