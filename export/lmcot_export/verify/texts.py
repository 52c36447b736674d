"""The texts on which source and export are compared."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from lmcot_cli.datasets.hotpotqa import to_row
from lmcot_cli.datasets.microhop import MicroHopOptions, records
from lmcot_cli.datasets.reader import read_rows
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import InputError
from lmcot_cli.prompts.render import Prompts


def rationale_prompts(questions: Path | None, rows: int, overrides: Path | None = None) -> list[str]:
    """Render the prompts that ask for rationales: of a question file's first good rows, else of MicroHop's.

    Raises:
        InputError: The file cannot be read, or has no row that can.
    """
    prompts = Prompts(overrides)
    found = [prompts.render("guided_rationale", row) for row in _rows(questions, rows)]
    if not found:
        raise InputError(f"{questions}: has no row to verify with; give a file with questions")
    return found


def _rows(questions: Path | None, rows: int) -> list[Row]:
    if questions is None:
        return [to_row(record, line) for line, record in enumerate(records(MicroHopOptions(rows=rows)), 1)]
    return [row for row in islice(read_rows(questions), rows) if isinstance(row, Row)]
