"""The common parts of `lmcot train`: options, the extra that is needed, lines of progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from lmcot_cli.errors import MissingExtraError

RunOption = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="RUN", help="Folder of the run; an unfinished one is continued."),
]
OverwriteRunOption = Annotated[bool, typer.Option("--overwrite", help="Start anew instead of continuing.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
AspectWeightsOption = Annotated[
    Path | None,
    typer.Option(
        "--aspect-weights", metavar="FILE", help="Weights from fit-aspects.", show_default="equal weights"
    ),
]


@contextmanager
def train_extra() -> Iterator[None]:
    """Turn an import that fails within into a MissingExtraError."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError("lmcot train", "train") from error


def stderr_report(*, quiet: bool) -> Callable[[str], None]:
    """Return a function that prints lines on stderr, unless it is to be quiet."""

    def report(line: str) -> None:
        if not quiet:
            typer.echo(line, err=True)

    return report
