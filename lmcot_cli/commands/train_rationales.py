"""`lmcot train rationales`: collect rationales to distil from."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from lmcot_cli.commands import options
from lmcot_cli.commands.train_arguments import OverwriteRunOption, QuietOption, train_extra
from lmcot_cli.datasets.options import RowOptions
from lmcot_cli.errors import UsageError
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.settings.declaration import Given, build, takes
from lmcot_train.rationales.options import NOT_OF_TEACHER, FilterOptions, TeacherOptions

if TYPE_CHECKING:
    from lmcot_train.rationales.run import Counts, Origin

EPILOG = """\
[bold]Examples[/bold]

[cyan]lmcot train rationales questions.jsonl -o rationales.jsonl --large model.gguf --samples 4[/cyan]  four chains each

[cyan]lmcot train rationales hotpot.json -o rationales.jsonl --context supporting[/cyan]  without a search for the
large LM

[cyan]lmcot train rationales --from human.json -o rationales.jsonl[/cyan]  rationales that people wrote
"""


@takes(TeacherOptions, AnswerOptions, FilterOptions, without=NOT_OF_TEACHER)
def rationales(
    given: Given,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="Write the rows with their rationales here."),
    ],
    questions: Annotated[
        Path | None, typer.Argument(metavar="[QUESTIONS]", help="Questions with gold answers, any layout.")
    ] = None,
    given_rationales: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Filter the rationales of these rows; ask no large LM."),
    ] = None,
    config: options.ConfigOption = None,
    overwrite: OverwriteRunOption = False,
    quiet: QuietOption = False,
) -> None:
    """Let a large LM answer by chain of thought, and keep the rationales that are fit to learn from.

    Its answers are kept beside FILE (FILE.answers.jsonl), so an interrupted run continues, and other filters need no
    new answers. A table, also written to FILE.run.json, shows what each filter left out.
    """
    if (questions is None) == (given_rationales is None):
        raise UsageError("give either QUESTIONS for the large LM, or --from FILE with rationales, not both")
    source = questions or given_rationales or Path()
    collect_rationales(
        source, output, given, asks=questions is not None, config=config, overwrite=overwrite, quiet=quiet
    )


def collect_rationales(
    source: Path,
    output: Path,
    given: Given,
    *,
    asks: bool,
    config: Path | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Ask the teacher if `asks` is true, and write the rationales that pass the filters.

    Raises:
        Exit: Some rows could not be answered; the others are written.
    """
    with train_extra():
        from lmcot_train.rationales.run import Origin, answers_path, collect, read_supporting

    teacher = teacher_options(given, config)
    origin = Origin(source, answers_path(output) if asks else None, teacher.limit, teacher.rows)
    supporting = build(TeacherOptions, given).context == "supporting"

    def ask() -> None:
        if origin.answers:
            shown = read_supporting(source, teacher.limit, teacher.rows) if supporting else source
            _ask_teacher(shown, origin, teacher, overwrite=overwrite, quiet=quiet)

    counts = collect(origin, output, build(FilterOptions, given), ask)
    if not quiet:
        _show(counts, origin)
    if counts.failed:
        raise typer.Exit(1)


def _ask_teacher(
    shown: Path | BinaryIO, origin: Origin, teacher: AnswerOptions, *, overwrite: bool, quiet: bool
) -> None:
    """Answer the questions that have no answer yet, as `lmcot answer --method cot` does."""
    from lmcot_cli.commands.answer_report import AnswerReport, command_line, finishing
    from lmcot_cli.pipeline.answer import AnswerRun

    if not isinstance(shown, Path):  # rows in lmcot's own layout
        teacher = replace(teacher, rows=RowOptions())
    run = AnswerRun(shown, teacher, origin.answers, overwrite=overwrite, command=command_line())
    with (
        AnswerReport(run, quiet=quiet, progress=sys.stderr.isatty()) as report,
        finishing(run, report.say),
        closing(run.results()) as results,
    ):
        for _ in report.follow(results):
            pass


def teacher_options(given: Given, config: Path | None) -> AnswerOptions:
    """Return the settings with which the teacher answers."""
    from lmcot_cli.commands.settings_file import settings_from
    from lmcot_cli.config import answer_options

    return answer_options(settings_from(config), {**given, "method": "cot", "stop": "none"})


def _show(counts: Counts, origin: Origin) -> None:
    """Print how many rationales each filter left out, on stderr."""
    from rich.console import Console
    from rich.table import Table

    table = Table("filter", box=None, pad_edge=False)
    table.add_column("rationales", justify="right")
    for reason, count in counts.left_out.items():
        table.add_row(reason, f"{count:,}")
    table.add_row("kept", f"{counts.kept:,}", style="bold")
    table.add_row("together", f"{counts.candidates:,}")
    console = Console(stderr=True, highlight=False)
    console.print(table)
    console.print(f"{counts.rows_kept:,} of {counts.rows:,} rows have a rationale; {counts.failed:,} failed")
