import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import OutputError
from lmcot_cli.pipeline.journal import Recorded
from lmcot_cli.pipeline.result import Failure, Result
from lmcot_cli.pipeline.run_file import RunFile
from lmcot_cli.pipeline.session import Session

RUN = RunFile(("lmcot", "answer"), "q.jsonl", {"samples": 5}, {})


def rows(*ids: str) -> Iterator[Row]:
    return (Row(name, "Who?", (), (), None, None, place) for place, name in enumerate(ids, 1))


def result(name: str, error: Failure | None = None) -> Result:
    return Result(name, "Who?", "cot", answer=None if error else "Lyon", error=error)


def ids(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_bytes().splitlines()]


def answered(
    session: Session, *names: str, last: str | None = None, ahead: tuple[str, ...] = ()
) -> list[str]:
    """Answer rows up to `last`, keep some beside the output; return what was still to do, records in brackets."""
    seen = []
    with session.opened(RUN.settings):
        for item in session.todo(rows(*names), RUN):
            seen.append(f"[{item.id}]" if isinstance(item, Recorded) else item.id)
            session.write(item if isinstance(item, Recorded) else result(item.id))
            if item.id == last:
                session.keep_ahead(result(name) for name in ahead)
                break
        else:
            session.finish()
        session.end(None)
    return seen


def test_a_row_that_is_ahead_enters_the_output_in_its_turn_and_is_not_kept_again(tmp_path: Path):
    out, names = tmp_path / "out", ("a", "b", "c", "d", "e")
    first, second, third = Session(out), Session(out), Session(out)
    answered(first, *names, last="a", ahead=("c", "e"))
    todo = answered(second, *names, last="c")
    assert (first.kept_ahead, second.kept_ahead, second.resumed) == (2, 1, 2)
    assert todo == ["b", "[c]"]

    assert answered(third, *names) == ["d", "[e]"]
    assert ids(out) == list(names)
    assert (third.resumed, third.answered_now.rows, third.totals.rows) == (4, 1, 5)
    assert not (tmp_path / ".out.ahead").exists()


def test_rows_that_are_ahead_count_towards_a_budget(tmp_path: Path):
    out, later = tmp_path / "out", Session(tmp_path / "out")
    answered(Session(out), "a", "b", "c", last="a", ahead=("c",))
    with later.opened(RUN.settings):
        later.todo(rows("a", "b", "c"), RUN)

    assert (later.kept.rows, later.resumed) == (2, 1)


def test_what_a_stopped_retry_did_not_reach_stays_in_the_output(tmp_path: Path):
    out, names = tmp_path / "out", ("a", "b", "c", "d")
    failed = Failure("row_failed", "no")
    session = Session(out)
    with session.opened(RUN.settings):
        for row in session.todo(rows(*names), RUN):
            session.write(result(row.id, failed if row.id in "bd" else None))
        session.finish()
    retry = Session(out, retry_errors=True)
    assert answered(retry, *names, last="b") == ["[a]", "b"]

    errors = [json.loads(line)["error"] is not None for line in out.read_bytes().splitlines()]
    assert errors == [False, False, False, True]
    assert (retry.resumed, retry.answered_now.rows, retry.totals.rows) == (1, 1, 4)


def test_without_an_output_rows_are_only_counted():
    session = Session()
    assert answered(session, "a", "b") == ["a", "b"]
    assert (session.totals.rows, session.is_new) == (2, True)


def test_another_input_is_refused_before_anything_is_written(tmp_path: Path):
    out = tmp_path / "out"
    answered(Session(out), "a", "b")
    with pytest.raises(OutputError, match="but the input has row 'x' there"):
        answered(Session(out), "a", "x")
    assert ids(out) == ["a", "b"]
