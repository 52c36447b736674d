"""The rows to refine a policy on, and those to validate it on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from random import Random

from lmcot_cli.datasets.options import DEFAULT, RowOptions
from lmcot_cli.datasets.reader import at_least_one, read_rows
from lmcot_cli.datasets.record import BadRow
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import InputError
from lmcot_train.models import Report


def read_answered(path: Path, limit: int | None, report: Report, options: RowOptions = DEFAULT) -> list[Row]:
    """Read the rows that have a gold answer; report how many were left out.

    Raises:
        InputError: The file cannot be read, or no row in it has a gold answer.
    """
    found = list(islice(at_least_one(read_rows(path, options), path), limit))
    rows = [row for row in found if not isinstance(row, BadRow) and row.answers]
    if not rows:
        raise InputError(f"{path}: no row has a gold answer to measure rewards by")
    if len(rows) < len(found):
        report(
            f"{path}: left out {len(found) - len(rows)} of {len(found)} rows: unreadable, or no gold answer"
        )
    return rows


def fitting(rows: Sequence[Row], length: Callable[[Row], int], most: int | None, report: Report) -> list[Row]:
    """Return the rows whose prompts take at most `most` tokens; report how many were left out.

    Raises:
        InputError: There are none.
    """
    if most is None:
        return list(rows)
    kept = [row for row in rows if length(row) <= most]
    if not kept:
        raise InputError(
            f"no prompt leaves room for a rationale in the model's context: the shortest allowed is {most} tokens;"
            " give a lower --max-tokens, or shorter contexts"
        )
    if len(kept) < len(rows):
        report(f"left out {len(rows) - len(kept)} of {len(rows)} rows: their prompts take over {most} tokens")
    return kept


def split(rows: Sequence[Row], held_out: int, seed: int) -> tuple[list[Row], list[Row]]:
    """Return the rows to learn from, and those to validate on: drawn at random, at most a fifth of all."""
    order = list(rows)
    Random(f"held out/{seed}").shuffle(order)
    count = min(held_out, len(order) // 5)
    return order[count:], order[:count]
