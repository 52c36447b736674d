"""The texts on which source and export are compared."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from lmcot_cli.datasets.microhop import MicroHopOptions, records
from lmcot_cli.datasets.native import to_row
from lmcot_cli.datasets.reader import read_rows
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import InputError
from lmcot_cli.prompts.render import Prompts
from lmcot_export.roles import CHAIN_STAGES
from lmcot_export.verify.options import VerifyOptions


def rationale_prompts(options: VerifyOptions) -> list[str]:
    """Render the prompts that ask for rationales in the model's role: of the first good rows given, or of MicroHop's.

    Raises:
        InputError: The file cannot be read, or has no row that can.
    """
    prompts = Prompts(options.prompts)
    found = [
        prompts.render(CHAIN_STAGES[options.role], row) for row in _rows(options.questions, options.rows)
    ]
    if not found:
        raise InputError(f"{options.questions}: has no row to verify with; give a file with questions")
    return found


def _rows(questions: Path | None, rows: int) -> list[Row]:
    if questions is None:
        return [to_row(record, line) for line, record in enumerate(records(MicroHopOptions(rows=rows)), 1)]
    return [row for row in islice(read_rows(questions), rows) if isinstance(row, Row)]
