"""`lmcot train all`: every stage of training, from one configuration file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmcot_cli.commands.export import export_model
from lmcot_cli.commands.train_arguments import QuietOption, stderr_report, train_extra
from lmcot_cli.commands.train_rationales import collect_rationales, teacher_options
from lmcot_cli.errors import InputError, UsageError
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.settings.declaration import Given, build, file_section
from lmcot_export.options import ExportOptions
from lmcot_train.distill.options import DistillOptions
from lmcot_train.rationales.options import NOT_OF_TEACHER, FilterOptions, TeacherOptions
from lmcot_train.refine.options import NOT_OF_REFINE, RefineOptions, from_settings

if TYPE_CHECKING:
    from lmcot_train.stages import Stage

Job = Callable[[bool], None]
"""Runs a stage, anew if told so."""

EPILOG = """\
[bold]Examples[/bold]

[cyan]lmcot train all questions.jsonl --config examples/train/embedded.toml[/cyan]  again, to continue
"""


def train_all(
    questions: Annotated[
        Path, typer.Argument(metavar="QUESTIONS", help="Questions with gold answers, any layout.")
    ],
    config: Annotated[
        Path, typer.Option("--config", metavar="FILE", help="TOML file with a section per stage.")
    ],
    quiet: QuietOption = False,
) -> None:
    """Collect rationales, distil, refine and export, according to one configuration file.

    A section holds the options of that stage's command. A stage is skipped if its output is there and nothing that it
    was made from has changed, so the same command continues after an interruption.
    """
    with train_extra():
        from lmcot_train.stages import plan, read_recipe, run_stages

    report = stderr_report(quiet=quiet)
    recipe = read_recipe(config)
    stages = plan(recipe, questions)
    jobs = {stage.name: prepare(stage, questions, config, quiet=quiet) for stage in stages}
    run_stages(stages, recipe.output, lambda stage, anew: jobs[stage.name](anew), report)
    typer.echo(stages[-1].output)


def prepare(stage: Stage, questions: Path, recipe: Path, *, quiet: bool) -> Job:
    """Check the settings of a stage, before hours of work; return what runs it.

    Raises:
        InputError: The stage does not have a setting, or does not take its value.
    """
    from lmcot_cli.config import read_section

    place = f"{recipe}: [{stage.name}]"
    given = read_section(_SECTIONS[stage.name](), dict(stage.section), place)
    try:
        return _JOBS[stage.name](stage, given, questions, quiet)
    except UsageError as error:
        raise InputError(f"{place} {error}") from error


def _rationales(stage: Stage, given: Given, questions: Path, quiet: bool) -> Job:
    config = Path(given["config"]) if "config" in given else None
    source = Path(given.get("from", stage.source))
    build(FilterOptions, given).check()
    teacher_options(given, config).check()

    def run(anew: bool) -> None:
        asks = "from" not in given
        with suppress(typer.Exit):  # rows that the large LM could not answer fail no stage
            collect_rationales(
                source, stage.output, given, asks=asks, config=config, overwrite=anew, quiet=quiet
            )

    return run


def _distill(stage: Stage, given: Given, questions: Path, quiet: bool) -> Job:
    from lmcot_train.distill.run import distill

    if "base" not in given:
        raise UsageError('base: is missing; write base = "MODEL"')
    options = build(DistillOptions, given)
    options.check()
    report = stderr_report(quiet=quiet)

    def run(anew: bool) -> None:
        distill(stage.source, given["base"], stage.output, options, report, overwrite=anew)

    return run


def _refine(stage: Stage, given: Given, questions: Path, quiet: bool) -> Job:
    from lmcot_cli.commands.settings_file import settings_from
    from lmcot_train.refine.run import refine

    config = settings_from(Path(given["config"]) if "config" in given else None)
    options = from_settings(given, config, questions=questions, start=stage.source, output=stage.output)
    options.check()
    report = stderr_report(quiet=quiet)

    def run(anew: bool) -> None:
        refine(replace(options, overwrite=anew), report)

    return run


def _export(stage: Stage, given: Given, questions: Path, quiet: bool) -> Job:
    options = build(ExportOptions, given, source=stage.source, output=stage.output)
    return lambda anew: export_model(options)


_JOBS = {"rationales": _rationales, "distill": _distill, "refine": _refine, "export": _export}
_TEACHER = (TeacherOptions, AnswerOptions, FilterOptions)
_SECTIONS: dict[str, Callable[[], Any]] = {
    "rationales": lambda: file_section(
        "Rationales", *_TEACHER, without=NOT_OF_TEACHER, limit=int, config=str, **{"from": str}
    ),
    "distill": lambda: file_section("Distill", DistillOptions, base=str),
    "refine": lambda: file_section("Refine", RefineOptions, without=NOT_OF_REFINE, config=str),
    "export": lambda: file_section("Export", ExportOptions),
}
