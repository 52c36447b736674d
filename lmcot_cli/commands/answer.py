"""`lmcot answer`: answer the questions of a file or of standard input."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from lmcot_cli.commands import options
from lmcot_cli.errors import UsageError
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.settings.declaration import Given, build, takes

EPILOG = """\
[bold]Examples[/bold]

[cyan]lmcot answer questions.jsonl[/cyan]  guided by the embedded small LM

[cyan]lmcot answer questions.jsonl -o answers.jsonl --samples 5[/cyan]  a vote of five; can be resumed

[cyan]cat questions.jsonl | lmcot answer --method cot --large model.gguf | jq .answer[/cyan]  in a pipeline
"""

FileArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="FILE|-",
        help="Questions: JSON, JSONL, CSV, TSV, Parquet, or a folder saved by datasets; JSON from standard input.",
        show_default="standard input",
    ),
]


@takes(AnswerOptions, options.Delivery, brief=True)
def answer(
    given: Given,
    file: FileArgument = None,
    config: options.ConfigOption = None,
    help_all: options.HelpAllOption = False,
) -> None:
    """Answer questions: a small LM writes a rationale for each, a large LM answers from it."""
    from lmcot_cli.commands.preview import show_preview
    from lmcot_cli.commands.settings_file import settings_from
    from lmcot_cli.config import answer_options
    from lmcot_cli.pipeline.preview import preview

    source, delivery = _source(file), build(options.Delivery, given)
    settings = answer_options(settings_from(config), given)
    if not delivery.dry_run:
        return _answer(source, settings, delivery)
    kept = None if delivery.overwrite else delivery.output
    show_preview(preview(source, settings, kept, retry_errors=delivery.retry_errors))


def _answer(source: Path, settings: AnswerOptions, delivery: options.Delivery) -> None:
    """Answer the questions and show the results.

    Raises:
        Exit: Rows failed.
    """
    from lmcot_cli.commands.answer_report import AnswerReport, command_line, finishing, show_line
    from lmcot_cli.commands.stdout import write_data
    from lmcot_cli.pipeline.answer import AnswerRun

    run = AnswerRun(
        source,
        settings,
        delivery.output,
        overwrite=delivery.overwrite,
        retry_errors=delivery.retry_errors,
        command=command_line(),
    )
    to_stdout = delivery.output is None
    on_terminal = to_stdout and sys.stdout.isatty()
    progress = sys.stderr.isatty() and not on_terminal
    records = delivery.json and to_stdout
    with (
        AnswerReport(run, quiet=delivery.quiet, progress=progress, records=records) as report,
        finishing(run, report.say),
        closing(run.results()) as results,
    ):
        for result in report.follow(results):
            if on_terminal and not delivery.json:
                show_line(result)
            elif to_stdout:
                write_data(result.to_line())
    if run.session.totals.failed:
        raise typer.Exit(1)


def _source(file: Path | None) -> Path:
    """Return the input.

    Raises:
        UsageError: There is none: no file is given, and standard input is a terminal.
    """
    if file is None and sys.stdin.isatty():
        raise UsageError(
            "no questions given: lmcot answer questions.jsonl, or pipe them in: ... | lmcot answer"
        )
    return file or Path("-")
