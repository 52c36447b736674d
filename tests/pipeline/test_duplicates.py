import sqlite3

import pytest

from lmcot_cli.datasets.record import BadRow
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import DuplicateIdError, OutputError, RowError
from lmcot_cli.pipeline import duplicates
from lmcot_cli.pipeline.duplicates import mark_duplicates


def row(row_id: str, line: int) -> Row:
    return Row(row_id, "Who?", (), (), None, None, line)


def test_the_first_of_an_id_passes_and_later_ones_name_both_lines():
    first, second, third = mark_duplicates([row("a", 1), row("a", 4), row("a", 9)])

    assert first == row("a", 1)
    for late, line in ((second, 4), (third, 9)):
        assert isinstance(late, BadRow)
        assert isinstance(late.error, DuplicateIdError)
        assert (late.id, late.question, late.line) == ("a", "Who?", line)
        assert f"line {line} is that of line 1" in str(late.error)


def test_a_bad_row_keeps_its_error_and_takes_no_id_from_a_good_one():
    bad = BadRow("a", None, 1, RowError("broken"))

    assert list(mark_duplicates([bad, row("a", 2), bad])) == [bad, row("a", 2), bad]


def test_many_rows_pass_in_order():
    rows = [row(str(number), number) for number in range(1, 5000)]

    assert list(mark_duplicates(rows)) == rows


def test_a_full_temporary_disk_is_our_own_error(monkeypatch: pytest.MonkeyPatch):
    class Full:
        def execute(self, statement: str, values: tuple[bytes, int]) -> None:
            raise sqlite3.OperationalError("database or disk is full")

    seen = duplicates._SeenIds()
    seen.close()
    monkeypatch.setattr(seen, "_database", Full())
    with pytest.raises(OutputError, match="disk is full"):
        seen.first_line("a", 1)
