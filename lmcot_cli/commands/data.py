"""`lmcot data`: inspect question files, convert them, and make new ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from lmcot_cli.commands.app import App
from lmcot_cli.commands.data_report import BadRowLog, print_summary, summary_record
from lmcot_cli.commands.stdout import write_data
from lmcot_cli.datasets.microhop import MicroHopOptions, records
from lmcot_cli.datasets.native import to_record
from lmcot_cli.datasets.options import RowOptions
from lmcot_cli.datasets.reader import at_least_one, read_rows, watched
from lmcot_cli.datasets.streams import source_name
from lmcot_cli.datasets.summary import summarize
from lmcot_cli.errors import OutputError
from lmcot_cli.files import cannot_write, replacing
from lmcot_cli.settings.declaration import Given, build, takes

app = App(no_args_is_help=True, help="Inspect question files, convert them, and make new ones.")

_CONVERT_EPILOG = """\
[bold]Examples[/bold]

[cyan]lmcot data convert hotpot_dev_distractor_v1.json -o questions.jsonl[/cyan]  from HotpotQA

[cyan]lmcot data convert mine.csv --fields question=frage,answer=antwort -o questions.jsonl[/cyan]  from a table
"""

_INSPECT_EPILOG = """\
[bold]Examples[/bold]

[cyan]lmcot data inspect questions.jsonl[/cyan]  counts and the first three rows
"""

_SYNTH_EPILOG = """\
[bold]Examples[/bold]

[cyan]lmcot data synth --rows 1000 --seed 1 -o questions.jsonl[/cyan]  two to four hops

[cyan]lmcot data synth --rows 9 --min-hops 4 | lmcot answer[/cyan]  hard ones, answered right away
"""

FileArgument = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="Questions: JSON, JSONL, CSV, TSV, Parquet, or a folder saved by datasets; - for JSON from stdin.",
    ),
]


OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="OUT", help="File to write instead of stdout.")
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")]


@app.command(epilog=_CONVERT_EPILOG)
@takes(RowOptions, only={"fields"})
def convert(
    given: Given,
    file: FileArgument,
    output: OutputOption = None,
    overwrite: OverwriteOption = False,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Read the first N rows only.")
    ] = None,
) -> None:
    """Convert questions of any layout to lmcot's own.

    That is JSONL with id, question, context, answer, type and rationale, where a row has them. Other columns are kept.
    """
    options = build(RowOptions, given)
    bad = BadRowLog(source_name(file))
    with _line_writer(output, overwrite=overwrite) as write:
        for row in bad.filtered(islice(at_least_one(read_rows(file, options), file), limit)):
            write(json.dumps(to_record(row), ensure_ascii=False).encode() + b"\n")
    bad.raise_if_any()


@app.command(epilog=_INSPECT_EPILOG)
@takes(RowOptions, only={"fields"})
def inspect(
    given: Given,
    file: FileArgument,
    rows: Annotated[int, typer.Option("--rows", metavar="N", min=0, help="First rows to show.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Show what a question file holds: how columns are read, counts, types, context sizes, and the first rows."""
    options = build(RowOptions, given)
    bad = BadRowLog(source_name(file))
    summary = summarize(at_least_one(watched(file, options), file), rows, options)
    if as_json:
        write_data(json.dumps(summary_record(summary), ensure_ascii=False, indent=2).encode() + b"\n")
    else:
        print_summary(summary)
    for row in summary.bad:
        bad.add(row)
    bad.raise_if_any()


@app.command(epilog=_SYNTH_EPILOG)
@takes(MicroHopOptions)
def synth(given: Given, output: OutputOption = None, overwrite: OverwriteOption = False) -> None:
    """Make multi-hop questions over an invented world (MicroHop), one JSON object per line.

    The layout is HotpotQA's with 2WikiMultiHopQA's evidences.

    The embedded models were trained on --split train; the default split holds names that they have never seen.
    """
    options = build(MicroHopOptions, given)
    with _line_writer(output, overwrite=overwrite) as write:
        for record in records(options):
            write(json.dumps(record, ensure_ascii=False).encode() + b"\n")


@contextmanager
def _line_writer(path: Path | None, *, overwrite: bool) -> Iterator[Callable[[bytes], object]]:
    """Write to stdout or to a file.

    Raises:
        OutputError: The file exists and may not be replaced, or it cannot be written.
    """
    if path is None:
        yield write_data
        return
    if path.is_file() and not overwrite:
        raise OutputError(f"{path}: exists: choose another -o, or replace it with --overwrite")
    try:
        with _whole_file(path.resolve()) as file, file.open("wb") as stream:
            yield stream.write
    except OSError as error:
        raise cannot_write(path, error) from error


def _whole_file(path: Path) -> AbstractContextManager[Path]:
    """Return a file that takes its name once it is whole, so that it may be the input too.

    What exists and is no regular file (a pipe, a device) is written to as it is: it must not be replaced.
    """
    return nullcontext(path) if path.exists() and not path.is_file() else replacing(path)
