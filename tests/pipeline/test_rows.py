import os
import threading
from pathlib import Path

import pytest

from lmcot_cli.errors import InputError
from lmcot_cli.pipeline.rows import ReadAhead, Rows


def test_a_file_is_read_on_demand_and_never_waits(tmp_path: Path):
    path = tmp_path / "q.jsonl"
    path.write_text('{"question": "a?", "context": "c"}\n{"question": "b?", "context": "c"}\n')
    before = threading.active_count()
    rows = Rows(path, limit=None)

    assert not rows.would_wait()
    assert [row.question for row in rows] == ["a?", "b?"]
    assert threading.active_count() == before


def test_rows_are_chosen_by_their_ids_and_read_no_further_than_the_last_of_them(tmp_path: Path):
    path = tmp_path / "q.jsonl"
    lines = [f'{{"id": "{letter}", "question": "{letter}?", "context": "c"}}\n' for letter in "abcd"]
    path.write_text("".join(lines))

    assert [row.id for row in Rows(path, None, ids=("c", "b"))] == ["b", "c"]
    assert [row.id for row in Rows(path, 1, ids=("c", "b"))] == ["b"]
    rows = Rows(path, None, ids=("a", "e", "f"))
    assert next(rows).id == "a"
    with pytest.raises(InputError, match=r"q\.jsonl: no row has the id 'e', 'f' of --ids"):
        next(rows)
    with path.open("a") as file:
        file.write("torn")
    assert len(list(Rows(path, None, ids=("a", "d")))) == 2


def test_the_first_row_of_a_pipe_is_there_before_the_second_is_written(tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str | None] = []
    one_read, go_on = threading.Event(), threading.Event()

    def write() -> None:
        with pipe.open("w") as file:
            file.write('{"question": "a?", "context": "c"}\n' + " " * 70_000 + "\n")
            file.flush()
            go_on.wait(10)
            file.write('{"question": "b?", "context": "c"}\n')

    def note() -> None:
        rows = Rows(pipe, limit=None)
        read.append(next(rows).question)
        one_read.set()
        read.extend(row.question for row in rows)

    threads = [threading.Thread(target=write), threading.Thread(target=note)]
    for thread in threads:
        thread.start()
    assert one_read.wait(10)
    go_on.set()
    for thread in threads:
        thread.join(10)

    assert read == ["a?", "b?"]


def test_what_reading_raises_is_raised_where_the_rows_are_asked_for(tmp_path: Path):
    def items():
        yield 1
        raise InputError("gone")

    ahead = ReadAhead(items())
    assert next(ahead) == 1
    for _ in range(2):
        with pytest.raises(InputError, match="gone"):
            next(ahead)
    with pytest.raises(InputError, match="cannot be read"):
        Rows(tmp_path / "missing", limit=None)


def test_the_end_stays_the_end():
    ahead = ReadAhead(iter([1]))

    assert list(ahead) == [1]
    assert list(ahead) == []
