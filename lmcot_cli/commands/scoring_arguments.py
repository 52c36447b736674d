"""What `lmcot eval`, `compare` and `revote` share: their options, and how figures are written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmcot_cli.commands.printable import printable
from lmcot_cli.commands.stdout import write_data
from lmcot_cli.datasets.streams import STDIN
from lmcot_cli.errors import UsageError
from lmcot_cli.scoring.options import ScoringOptions
from lmcot_cli.settings.declaration import declared

if TYPE_CHECKING:
    from lmcot_cli.scoring.intervals import Estimate

GoldOption = Annotated[
    Path | None,
    typer.Option(
        "--gold", metavar="FILE", help="Question file of any layout with the gold answers and types."
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON (scores from 0 to 1) instead of a table.")
]

SCORING = {"fields", *declared(ScoringOptions)}
"""The settings of commands that score."""
INCLUSION = "Inclusion (lmcot's own score): the gold answer occurs in the answer as a run of whole words."

_IDS_SHOWN = 5


def refuse_stdin_twice(*files: Path | None) -> None:
    """Refuse to read standard input twice.

    Raises:
        UsageError: Two of the files are `-`.
    """
    if files.count(STDIN) > 1:
        raise UsageError("only one of the files can be - (standard input)")


def report_ids(ids: Sequence[str], what: str) -> None:
    """Print on stderr how many rows of a kind there are, with the first ids; nothing if there are none."""
    if ids:
        shown = ", ".join(printable(row_id) for row_id in ids[:_IDS_SHOWN])
        more = ", ..." if len(ids) > _IDS_SHOWN else ""
        typer.echo(f"note: {what}: {len(ids)} ({shown}{more})", err=True)


def write_json(report: Mapping[str, Any]) -> None:
    """Write a report to stdout as indented JSON."""
    write_data(json.dumps(report, ensure_ascii=False, indent=2).encode() + b"\n")


def percent(share: float) -> str:
    """Return a share in percent with one decimal and without the sign; `100` has no decimal, as tables are narrow."""
    return f"{100 * share:.1f}".replace("100.0", "100")


def percent_interval(estimate: Estimate) -> str:
    """Return an estimate as `48.0 45.1-51.2`, in percent."""
    return f"{percent(estimate.mean)} {percent(estimate.low)}-{percent(estimate.high)}"


def points_interval(estimate: Estimate) -> str:
    """Return a difference as `+7.0 (+2.1 to +11.9)`, in percentage points."""
    mean, low, high = (f"{100 * value:+.1f}" for value in (estimate.mean, estimate.low, estimate.high))
    return f"{mean} ({low} to {high})"
