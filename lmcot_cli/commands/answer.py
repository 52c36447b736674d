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
from lmcot_cli.settings.declaration import Given, takes

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


@takes(AnswerOptions, brief=True)
def answer(
    given: Given,
    file: FileArgument = None,
    config: options.ConfigOption = None,
    output: options.OutputOption = None,
    overwrite: options.OverwriteOption = False,
    retry_errors: options.RetryErrorsOption = False,
    dry_run: options.DryRunOption = False,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    help_all: options.HelpAllOption = False,
) -> None:
    """Answer questions: a small LM writes a rationale for each, a large LM answers from it."""
    from lmcot_cli.commands.answer_report import AnswerReport, command_line, show_line, source_label
    from lmcot_cli.commands.interrupt import finishing
    from lmcot_cli.commands.preview import show_preview
    from lmcot_cli.commands.settings_file import settings_from
    from lmcot_cli.commands.stdout import write_data
    from lmcot_cli.config import answer_options
    from lmcot_cli.pipeline.answer import AnswerRun
    from lmcot_cli.pipeline.preview import preview

    source = _source(file)
    settings = answer_options(settings_from(config), given)
    if dry_run:
        kept = None if overwrite else output
        return show_preview(preview(source, settings, kept, retry_errors=retry_errors))
    run = AnswerRun(
        source, settings, output, overwrite=overwrite, retry_errors=retry_errors, command=command_line()
    )
    on_terminal = output is None and sys.stdout.isatty()
    readable = on_terminal and not json
    progress = sys.stderr.isatty() and not on_terminal
    with (
        AnswerReport(
            run, source_label(source), quiet=quiet, progress=progress, records=json and output is None
        ) as report,
        finishing(run, report.say),
        closing(run.results()) as results,
    ):
        for result in report.follow(results):
            if readable:
                show_line(result)
            elif output is None:
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
