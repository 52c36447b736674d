"""One declaration a setting: the option, the key of a file, the check, the dataclass and the record follow from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import not_
from pathlib import Path
from typing import Any, Literal

import pytest
import typer
from pydantic import ValidationError
from typer.testing import CliRunner

from lmcot_cli.errors import UsageError
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.settings.declaration import (
    COUNT,
    Given,
    Rule,
    build,
    check,
    declared,
    file_section,
    group,
    read_names,
    recorded,
    setting,
    setting_from,
    setting_of,
    takes,
)


@dataclass(frozen=True, slots=True)
class Oven:
    heat: float = setting(180.0, "Degrees.", rule=Rule(least=50, most=300), changes_answers=True)
    fan: bool = setting(False, "Use the fan.", changes_answers=True)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True)
class Cake:
    flour: int = setting(500, "Grams of flour.", short="-f", rule=COUNT, changes_answers=True, common=True)
    kind: Literal["round", "square"] = setting("round", "Shape of the tin.", changes_answers=True)
    toppings: tuple[str, ...] = setting((), "What goes on it.", read=read_names, in_file=list[str])
    notes: tuple[str, ...] = setting((), "A note; give it again for more.", name="note")
    recipe: Path | None = setting(None, "File with the recipe.", in_file=None)
    baker: str = setting_from(lambda: "me", "Who bakes.", shown="the user")
    bare: bool = setting(True, "Leave the icing out.", name="no_icing", read=not_)
    secret: float = setting(1.0, "Nothing to type.", typed=False, rule=Rule(above=0, below=2))
    oven: Oven = group(Oven)
    batch: int = 1


def command(**attributes: Any) -> Any:
    app, made = typer.Typer(), list[Any]()

    @takes(Cake, **attributes)
    def bake(given: Given, place: str = "here") -> None:
        made.append((given, place))

    app.command()(bake)

    def run(*words: str) -> Any:
        result = CliRunner().invoke(app, words)
        return made[-1] if result.exit_code == 0 and made else result

    return run


def test_only_what_was_typed_is_given() -> None:
    run = command()
    assert run() == ({}, "here")
    assert run("-f", "300", "--fan", "--place", "there") == ({"flour": 300, "fan": True}, "there")
    assert run("--note", "a", "--note", "b", "--toppings", "x,y")[0] == {
        "note": ["a", "b"],
        "toppings": "x,y",
    }


def test_what_was_typed_becomes_the_dataclass_and_its_groups() -> None:
    given, _ = command()(
        "--flour", "300", "--toppings", " x ,y", "--note", "a", "--no-icing", "--heat", "200"
    )
    assert build(Cake, given, batch=2) == Cake(
        flour=300, toppings=("x", "y"), notes=("a",), bare=False, oven=Oven(heat=200.0), batch=2
    )


def test_names_that_are_no_settings_and_none_are_passed_over() -> None:
    assert build(Cake, {"flour": None, "oven": "hot", "batch": 7}) == Cake()


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        build(Cake, {"flour": 0, "kind": "oval", "heat": 1000.0})
    assert str(caught.value) == (
        "--flour 0: give 1 or more; --kind oval: choose one of round, square;"
        " --heat 1000: give a number from 50 to 300"
    )
    with pytest.raises(UsageError, match=r"^secret 2: give a number above 0 and below 2; and more$"):
        check(Cake(secret=2.0), "and more")
    with pytest.raises(UsageError, match=r"^--heat nan: give a finite number$"):
        Oven(heat=float("nan"))


def test_help_shows_help_defaults_and_forms() -> None:
    text = " ".join(command()("--help").stdout.split())
    for shown in (
        "--flour -f",
        "Grams of flour.",
        "[default: (500)]",
        "<round|square>",
        "[default: (the user)]",
    ):
        assert shown in text
    assert "--secret" not in text


def test_a_brief_help_lists_the_common_options_and_takes_all() -> None:
    run = command(brief=True)
    shown = run("--help").stdout
    assert "--flour" in shown
    assert "--kind" not in shown
    assert run("--kind", "square")[0] == {"kind": "square"}


def test_a_command_may_take_some_settings_only() -> None:
    assert "No such option" in command(only={"flour"})("--kind", "square").output
    assert "No such option" in command(without={"kind"})("--kind", "square").output


def test_a_section_of_a_file_has_the_settings_as_keys() -> None:
    section = file_section("Section", Cake, extra=str)
    read = section.model_validate({"flour": 1, "toppings": ["x"], "note": ["a"], "heat": 60, "extra": "e"})
    given = read.model_dump(exclude_none=True)
    assert build(Cake, given) == Cake(1, toppings=("x",), notes=("a",), oven=Oven(heat=60))
    for wrong in ({"flour": "1"}, {"recipe": "x"}, {"batch": 1}, {"kind": "oval"}):
        with pytest.raises(ValidationError):
            section.model_validate(wrong)


def test_what_changes_answers_is_recorded() -> None:
    assert recorded(Cake(toppings=("x",), oven=Oven(fan=True))) == {
        "flour": 500, "kind": "round", "heat": 180.0, "fan": True,
    }  # fmt: skip


def test_every_setting_of_answering_has_a_help_that_is_a_sentence() -> None:
    for one in declared(AnswerOptions).values():
        assert one.setting.help[0].isalpha(), one.name
        assert one.setting.help.endswith((".", "...")), one.name


def test_a_setting_can_be_that_of_another_dataclass() -> None:
    @dataclass(frozen=True, slots=True)
    class Tray:
        flour: int = setting_of(Cake, "flour", help="Flour per tray.")

    mine, theirs = declared(Tray)["flour"], declared(Cake)["flour"]
    assert mine.default == theirs.default
    assert mine.setting == replace(theirs.setting, help="Flour per tray.")
