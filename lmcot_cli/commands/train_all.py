"""`lmcot train all`: every stage of training, from one configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from lmcot_cli.commands import export, train_distill, train_rationales
from lmcot_cli.commands.train_arguments import QuietOption, stderr_report, train_extra
from lmcot_cli.errors import InputError, UsageError

EPILOG = """\
[bold]Examples[/bold]

[cyan]lmcot train all questions.jsonl --config examples/train/embedded.toml[/cyan]  again, and it goes on
"""


def train_all(
    questions: Annotated[
        Path, typer.Argument(metavar="QUESTIONS", help="Questions with gold answers, any layout.")
    ],
    config: Annotated[
        Path, typer.Option("--config", metavar="FILE", help="TOML file with a section a stage.")
    ],
    quiet: QuietOption = False,
) -> None:
    """Collect rationales, distil, refine and export, as one configuration file says.

    A section holds the options of that stage's command. A stage is skipped when its output is there and nothing that
    it was made from has changed, so running the same command again goes on after an interruption.
    """
    with train_extra():
        from lmcot_train.stages import plan, read_recipe, run_stages

    recipe = read_recipe(config)
    stages = plan(recipe, questions)
    for stage in stages:
        check_words(stage.words, f"{config}: [{stage.name}]")
    run_stages(stages, recipe.output, execute, stderr_report(quiet=quiet))
    typer.echo(stages[-1].output)


def check_words(words: tuple[str, ...], place: str) -> None:
    """Let a command read and check its options without running it, so that a mistake shows before hours of work.

    Raises:
        InputError: An option that the command does not have, or a value that it does not take.
    """
    from lmcot_cli.main import PYDANTIC_PREFIX

    command, rest = _find(words, place)
    # Typer carries its own copy of Click and names this class nowhere: the base of every error of usage.
    usage_error = cast("type[typer.BadParameter]", typer.BadParameter.__base__)
    try:
        flags = command.make_context("lmcot", rest).params
    except usage_error as error:
        message = error.format_message().replace(f": {PYDANTIC_PREFIX}", ": ")
        raise InputError(f"{place} {message}") from error
    try:
        _check_options(words, flags)
    except UsageError as error:
        raise InputError(f"{place} {error}") from error


def _check_options(words: tuple[str, ...], flags: Mapping[str, Any]) -> None:
    """Let the options of a stage check themselves, as its command will."""
    from lmcot_cli.commands.settings_file import settings_from
    from lmcot_train.refine.options import from_settings

    match words:
        case ("train", "rationales", *_):
            train_rationales.check_options(flags)
        case ("train", "distill", *_):
            train_distill.read_options(flags).check()
        case ("train", "refine", *_):
            # The file of weights is read by the command.
            from_settings({**flags, "aspect_weights": None}, settings_from(flags["config"])).check()
        case ("export", *_):
            export.read_options(flags)


def execute(words: tuple[str, ...]) -> None:
    """Run a command in this process.

    Raises:
        Exit: It failed. Rows that the large LM could not answer fail no stage: the others go on.
    """
    command, rest = _find(words, "")
    with command.make_context("lmcot", rest) as context:
        try:
            command.invoke(context)
        except typer.Exit as ended:
            if ended.exit_code and "rationales" not in words[:2]:
                raise


def _find(words: tuple[str, ...], place: str) -> tuple[Any, list[str]]:
    """Return the command that the first words name, and the words after them."""
    from lmcot_cli.main import COMMANDS, load_command

    name, *rest = words
    if name not in COMMANDS:
        raise InputError(f"{place}: this version of lmcot has no command {name!r}: leave the section out")
    command = load_command(name)
    if name != "train":
        return command, rest
    if rest[0] not in command.commands:
        raise InputError(f"{place}: this version of lmcot has no command 'train {rest[0]}'")
    return command.commands[rest[0]], rest[1:]
