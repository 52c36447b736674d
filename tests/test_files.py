"""Files are replaced whole or not at all, and nothing is written through what a stranger left beside them."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lmcot_cli.errors import InputError, OutputError
from lmcot_cli.files import (
    lock,
    new_file,
    read_object,
    read_regular,
    replace_file,
    replacing,
    replacing_folder,
    write_json,
)
from lmcot_cli.pipeline.ahead import Ahead
from lmcot_cli.pipeline.journal import Journal
from lmcot_cli.pipeline.result import Result
from lmcot_cli.pipeline.retry import Retry
from lmcot_cli.pipeline.run_file import PreviousRun, RunFile, read_run_file

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
    (tmp_path / f".out.run.json.{os.getpid()}.part").symlink_to(precious)
    with Journal(tmp_path / "out") as journal:
        journal.begin(RUN)
    assert read_run_file(tmp_path / "out.run.json") is not None


def test_a_retry_writes_through_no_link(tmp_path: Path, precious: Path) -> None:
    (tmp_path / ".out.retry").symlink_to(precious)
    with Journal(tmp_path / "out") as journal, pytest.raises(OutputError, match=r"\.out\.retry: cannot be"):
        Retry(journal)


def test_rows_that_are_ahead_are_kept_through_no_link(tmp_path: Path, precious: Path) -> None:
    (tmp_path / f"..out.ahead.{os.getpid()}.part").symlink_to(precious)
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
    with Journal(out) as journal, pytest.raises(OutputError, match="out:1: is not a result record"):
        list(journal.records())
    (tmp_path / ".out.ahead").write_text(f"{json.dumps({'settings': {}, 'started': ''})}\n{line}\n")
    assert Ahead(out, run).rows == {}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_when_the_block_has_succeeded(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a"]


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(ValueError, match="spoilt"), replacing(path) as temporary:
        temporary.write_text("half")
        raise ValueError("spoilt")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for name in ("first", "second"):
        with replacing_folder(path, durable=True) as temporary:
            (temporary / name).write_text(name)
    assert names(path) == ["second"]
    with pytest.raises(KeyError), replacing_folder(path) as temporary:
        (temporary / "third").write_text("half")
        raise KeyError
    assert names(path) == ["second"]
    assert names(tmp_path) == ["a"]


KILLED = """
import os, signal, sys
from pathlib import Path
from lmcot_cli.files import replacing, replacing_folder

with {name}(Path(sys.argv[1])) as temporary:
    (temporary / "part" if temporary.is_dir() else temporary).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("name", ["replacing", "replacing_folder"])
def test_a_process_that_is_killed_leaves_what_was_there(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a"
    if name == "replacing_folder":
        path.mkdir()
    (path / "part" if path.is_dir() else path).write_text("old")
    done = subprocess.run([sys.executable, "-c", KILLED.format(name=name), path], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert (path / "part" if path.is_dir() else path).read_text() == "old"
    assert len(names(tmp_path)) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no disk that is always full")
def test_a_full_disk_is_said_in_a_line_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with (
        pytest.raises(OutputError, match=r"a: cannot be written: No space left on device; free some space"),
        replacing(path) as temporary,
    ):
        temporary.unlink()
        temporary.symlink_to("/dev/full")
        temporary.write_text("new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("write", [lambda path: replace_file(path, b"x"), lambda path: write_json(path, {})])
def test_a_folder_that_is_missing_is_said_in_a_line(tmp_path: Path, write: Callable[[Path], None]) -> None:
    with pytest.raises(OutputError, match=r"a: cannot be written: No such file or directory$"):
        write(tmp_path / "no" / "a")


def test_an_error_about_another_file_is_not_the_outputs(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a"):
        Path("/proc/none").read_bytes()


def test_files_get_the_permissions_that_are_asked_for(tmp_path: Path) -> None:
    write_json(tmp_path / "own", {}, mode=0o600)
    write_json(tmp_path / "usual", {})
    (tmp_path / "plain").write_text("")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes["own"] == 0o600
    assert modes["usual"] == modes["plain"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{torn", r"is not valid JSON \(.*\); mend it$"),
        ("[" * 100_000, r"is not valid JSON \(.*\); mend it$"),
        ("[]", "is not a JSON object; mend it$"),
        (json.dumps({"a": "x" * 100}), r"is larger than any settings \(50 bytes\); mend it$"),
    ],
)
def test_what_is_no_object_is_said_with_its_cure(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a").write_text(text)
    most = 50 if "x" in text else 2**20
    with pytest.raises(InputError, match=said):
        read_object(tmp_path / "a", InputError, "mend it", most=most)


def test_an_object_that_is_missing_is_an_error_unless_it_may_be(tmp_path: Path) -> None:
    assert read_object(tmp_path / "a", missing_ok=True) == {}
    with pytest.raises(InputError, match=r"a: is missing; fetch or save it anew"):
        read_object(tmp_path / "a", InputError)


LOCKED = "import os, sys; from pathlib import Path; from lmcot_cli.files import lock\n" + (
    "lock(os.open(sys.argv[1], os.O_RDONLY), Path('a')); print('locked')"
)


def test_a_lock_keeps_other_processes_out_until_it_is_closed(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    lock(descriptor, tmp_path)
    command = [sys.executable, "-c", LOCKED, tmp_path]
    kept_out = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "a: another lmcot is writing to it: wait for it, or choose another -o" in kept_out.stderr
    os.close(descriptor)
    assert (
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout == "locked\n"
    )


def test_what_cannot_be_locked_is_said_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=rf"cannot be locked: {os.strerror(errno.EBADF)}"):
        lock(2**20, tmp_path)
