"""Stop where the first rows of an input all fail alike, for then the input or a setting is wrong.

Failures of endpoints and models do not count: they may be over by the next row. Where `--max-errors` says how many rows
may fail, nothing here applies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from lmcot_cli.datasets.record import BadRow
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import FirstRowsFailError
from lmcot_cli.pipeline.journal import Recorded
from lmcot_cli.pipeline.preconditions import Preconditions
from lmcot_cli.pipeline.result import Failure, Result

FIRST_ROWS = 20
"""How many rows show what the others will be like."""

_LACKING = ("missing_choices", "missing_rationale")
"""Errors that a few rows suffice to show, because they concern every row of a file."""

_OF_THE_ROW = (*_LACKING, "too_few_shots", "bad_row", "prompt_too_long")


def check_first(first: Sequence[Row | BadRow], preconditions: Preconditions, source: str) -> None:
    """Check the first rows before a model is loaded.

    Raises:
        FirstRowsFailError: All of them fail alike.
    """
    failures: list[Failure] = []
    for item in first:
        error = preconditions.failure(item)
        if error is None:
            return
        failures.append(Failure.of(error, unnamed="bad_row"))
    alike = len({failure.type for failure in failures}) == 1
    if alike and (len(failures) == FIRST_ROWS or failures[0].type in _LACKING):
        raise _all_fail(len(failures), first[0].line, failures[0], source)


def held_back(
    results: Iterable[Result | Recorded], source: str, *, hold: bool
) -> Iterator[Result | Recorded]:
    """Pass results on; with `hold`, the first ones that all fail alike wait until another one follows.

    So no errors are written that a later run would have to redo.

    Raises:
        FirstRowsFailError: All of the first rows fail alike.
    """
    held: list[Result] = []
    rest = iter(results)
    for one in rest:
        if not (isinstance(one, Result) and _fails_like(one, held[:1])):
            yield from held if hold else ()
            yield one
            yield from rest
            return
        held.append(one)
        if not hold:
            yield one
        if len(held) == FIRST_ROWS:
            first = held[0]
            raise _all_fail(FIRST_ROWS, first.line, first.error, source, written=not hold)
    yield from held if hold else ()


def _fails_like(result: Result, others: Sequence[Result]) -> bool:
    """Whether a result has an error of its row, and the others have the same."""
    types = {one.error.type if one.error else None for one in (result, *others)}
    return len(types) == 1 and types <= {*_OF_THE_ROW}


def _all_fail(
    rows: int, line: int, failure: Failure | None, source: str, *, written: bool = False
) -> FirstRowsFailError:
    assert failure is not None
    hint = f"; is {source} a question file?" if failure.type == "bad_row" else ""
    done = "only their errors were written" if written else "nothing was written"
    return FirstRowsFailError(
        f"{source}: the first {rows} rows all fail alike; row {line}: {failure.message}{hint} ({done};"
        " --max-errors N allows N failed rows)"
    )
