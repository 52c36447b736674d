"""What the commands of `lmcot train` share: options declared once, the extra they need, lines of progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from lmcot_cli.errors import MissingExtraError

RunOption = Annotated[
    Path,
    typer.Option(
        "--output", "-o", metavar="RUN", help="Folder of the run; an unfinished one is gone on with."
    ),
]
OverwriteRunOption = Annotated[
    bool, typer.Option("--overwrite", help="Start the run anew, whatever the folder holds of one.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
LargeOption = Annotated[
    str | None,
    typer.Option("--large", metavar="SPEC", help="The frozen large LM.", show_default="builtin:large"),
]
SeedOption = Annotated[int | None, typer.Option("--seed", help="Seed of the run.", show_default="0")]
PromptsOption = Annotated[
    Path | None, typer.Option("--prompts", metavar="DIR", help="Folder with prompt templates of your own.")
]
AspectWeightsOption = Annotated[
    Path | None,
    typer.Option(
        "--aspect-weights", metavar="FILE", help="Weights from fit-aspects.", show_default="equal weights"
    ),
]


@contextmanager
def train_extra() -> Iterator[None]:
    """Import what training needs.

    Raises:
        MissingExtraError: The extra is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError("lmcot train", "train") from error


def given(options: type, flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags that were given and are fields of a dataclass of options."""
    names = {field.name for field in fields(options)}
    return {name: value for name, value in flags.items() if name in names and value is not None}


def stderr_report(*, quiet: bool) -> Callable[[str], None]:
    """Return what takes lines for the user."""

    def report(line: str) -> None:
        if not quiet:
            typer.echo(line, err=True)

    return report
