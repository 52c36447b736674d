"""`lmcot train rationales`: collect rationales to distil from."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from lmcot_cli.commands import options, prompt_options
from lmcot_cli.commands.train_arguments import LargeOption, given, train_extra
from lmcot_cli.errors import UsageError

if TYPE_CHECKING:
    from lmcot_cli.pipeline.options import AnswerOptions
    from lmcot_train.rationales.run import Counts, Origin

EPILOG = """\
[bold]Examples[/bold]

[cyan]lmcot train rationales questions.jsonl -o rationales.jsonl --large model.gguf --samples 4[/cyan]  four chains each

[cyan]lmcot train rationales hotpot.json -o rationales.jsonl --context supporting[/cyan]  spare the large LM the search

[cyan]lmcot train rationales --from human.json -o rationales.jsonl[/cyan]  rationales that people wrote
"""

_FILTERS = "Filters"


class Context(StrEnum):
    """The part of a row's context that the teacher reads."""

    ALL = "all"
    SUPPORTING = "supporting"


def rationales(
    context: typer.Context,
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
    large: LargeOption = None,
    read: Annotated[
        Context,
        typer.Option(
            "--context",
            help="What the large LM reads: the whole context, or only the paragraphs that the record names as"
            " supporting, where it errs less. The rationales are kept with the whole context.",
        ),
    ] = Context.ALL,
    samples: options.SamplesOption = None,
    temperature: options.TemperatureOption = None,
    top_p: options.TopPOption = None,
    max_tokens: options.MaxTokensOption = None,
    thinking: prompt_options.ThinkingOption = None,
    max_thinking_tokens: prompt_options.MaxThinkingTokensOption = None,
    answer_regex: prompt_options.AnswerRegexOption = None,
    seed: options.SeedOption = None,
    limit: options.LimitOption = None,
    fields: prompt_options.FieldsOption = None,
    prompts: options.PromptsOption = None,
    shots: prompt_options.ShotsOption = None,
    shots_from: prompt_options.ShotsFromOption = None,
    shots_by: prompt_options.ShotsByOption = None,
    large_system: prompt_options.LargeSystemOption = None,
    truncate: prompt_options.TruncateOption = None,
    max_errors: options.MaxErrorsOption = None,
    config: options.ConfigOption = None,
    parallel: options.ParallelOption = None,
    threads: options.ThreadsOption = None,
    n_ctx: options.NCtxOption = None,
    gpu_layers: options.GpuLayersOption = None,
    min_f1: Annotated[
        float | None,
        typer.Option(
            "--min-f1",
            help="Least F1 of the answer.",
            show_default="an exact match",
            rich_help_panel=_FILTERS,
        ),
    ] = None,
    min_words: Annotated[
        int | None,
        typer.Option("--min-words", help="Fewest words.", show_default="4", rich_help_panel=_FILTERS),
    ] = None,
    max_words: Annotated[
        int | None,
        typer.Option("--max-words", help="Most words.", show_default="150", rich_help_panel=_FILTERS),
    ] = None,
    max_copied: Annotated[
        int | None,
        typer.Option(
            "--max-copied",
            help="Most words in a row that may stand in one paragraph word for word.",
            show_default="40",
            rich_help_panel=_FILTERS,
        ),
    ] = None,
    keep_surest: Annotated[
        float | None,
        typer.Option(
            "--keep-surest",
            metavar="SHARE",
            help="Of what passes, keep this share of each question type: what the large LM was surest of.",
            show_default="all",
            rich_help_panel=_FILTERS,
        ),
    ] = None,
    overwrite: options.OverwriteOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Let a large LM answer by chain of thought, and keep the rationales that are fit to learn from.

    Its answers are kept in FILE's folder too (FILE.answers.jsonl), so an interrupted run goes on, and other filters
    need no new ones. What each filter left out is shown as a table and written to FILE.run.json.
    """
    with train_extra():
        from lmcot_train.rationales.filters import FilterOptions
        from lmcot_train.rationales.run import Origin, answers_path, collect, read_supporting

    if (questions is None) == (given_rationales is None):
        raise UsageError("give either QUESTIONS for the large LM, or --from FILE with rationales, not both")
    origin = Origin(
        questions or given_rationales or Path(),
        answers_path(output) if questions else None,
        limit,
        teacher_options(context.params).rows,
    )

    def ask() -> None:
        if origin.answers:
            supporting = read is Context.SUPPORTING
            shown = read_supporting(origin.source, limit, origin.rows) if supporting else origin.source
            _ask_teacher(shown, origin, context.params)

    counts = collect(origin, output, FilterOptions(**given(FilterOptions, context.params)), ask)
    if not quiet:
        _show(counts, origin)
    if counts.failed:
        raise typer.Exit(1)


def _ask_teacher(shown: Path | BinaryIO, origin: Origin, flags: dict[str, Any]) -> None:
    """Answer what has no answer yet, as `lmcot answer --method cot` does."""
    import sys

    from lmcot_cli.commands.answer_report import Report, command_line, source_label
    from lmcot_cli.commands.interrupt import finishing
    from lmcot_cli.pipeline.answer import AnswerRun

    settings = teacher_options(flags)
    if not isinstance(shown, Path):  # rows in lmcot's own layout
        settings = replace(settings, fields=())
    run = AnswerRun(shown, settings, origin.answers, overwrite=flags["overwrite"], command=command_line())
    with (
        Report(
            run, source_label(origin.source), quiet=flags["quiet"], progress=sys.stderr.isatty()
        ) as report,
        finishing(run, report.say),
        closing(run.results()) as results,
    ):
        for _ in report.follow(results):
            pass


def teacher_options(flags: Mapping[str, Any]) -> AnswerOptions:
    """Build the settings that the teacher answers with."""
    from lmcot_cli.commands.settings_file import settings_from
    from lmcot_cli.config import answer_options

    return answer_options(settings_from(flags["config"]), {**flags, "method": "cot", "stop": "none"})


def check_options(flags: Mapping[str, Any]) -> None:
    """Refuse options that cannot work, without running anything.

    Raises:
        UsageError: Names the option.
        InputError: The settings file cannot be read.
    """
    from lmcot_train.rationales.filters import FilterOptions
    from lmcot_train.rationales.run import Origin

    Origin(Path(), limit=flags["limit"]).check()
    FilterOptions(**given(FilterOptions, flags)).check()
    teacher_options(flags).check()


def _show(counts: Counts, origin: Origin) -> None:
    """Print what each filter left out, on stderr."""
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
