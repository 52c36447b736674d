"""Stop where the first rows of an input all fail alike, for then it is the input, or a setting, that is wrong.

What an endpoint or a model does to rows is not meant: it may be over for the next one. `--max-errors` says how many
rows may fail, and is taken at its word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from lmcot_cli.datasets.reader import BadRow
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import FirstRowsFailError
from lmcot_cli.pipeline.journal import Recorded
from lmcot_cli.pipeline.preconditions import Preconditions
from lmcot_cli.pipeline.result import Failure, Result

FIRST_ROWS = 20
"""Rows that tell what the others will be like."""

_LACKING = ("missing_choices", "missing_rationale")
"""What no row of a short file will have, either, if none has it."""

_OF_THE_ROW = (*_LACKING, "too_few_shots", "bad_row", "prompt_too_long")


def check_first(first: Sequence[Row | BadRow], preconditions: Preconditions, source: str) -> None:
    """Look at the first rows before a model is loaded.

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
    """Pass results on; the first ones, while they all fail alike, only once another follows, if `hold` says so.

    So nothing of them is written that a later run would have to redo.

    Raises:
        FirstRowsFailError: All of the first rows fail alike.
    """
    held: list[Result] = []
    rest = iter(results)
    for one in rest:
        failure = one.error if isinstance(one, Result) else None
        known = held[0].error if held else failure
        if not isinstance(one, Result) or not failure or failure.type not in _OF_THE_ROW:
            break
        if known is None or failure.type != known.type:
            break
        held.append(one)
        if not hold:
            yield one
        if len(held) == FIRST_ROWS:
            raise _all_fail(FIRST_ROWS, held[0].line, held[0].error or failure, source, written=not hold)
    else:
        yield from held if hold else ()
        return
    yield from held if hold else ()
    yield one
    yield from rest


def _all_fail(
    rows: int, line: int, failure: Failure, source: str, *, written: bool = False
) -> FirstRowsFailError:
    hint = f"; is {source} a question file?" if failure.type == "bad_row" else ""
    done = "their errors are all that was written" if written else "nothing was written"
    return FirstRowsFailError(
        f"{source}: the first {rows} rows all fail alike; row {line}: {failure.message}{hint} ({done};"
        " --max-errors N lets so many rows fail)"
    )
