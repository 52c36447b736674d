"""One declaration per setting: a field of a frozen dataclass, from which everything else about it follows.

    @dataclass(frozen=True, slots=True)
    class AnswerOptions:
        samples: int = setting(1, "Samples per row; their answers are voted on.", short="-k", rule=COUNT)
        engine: EngineOptions = group(EngineOptions)

From it come the option of the command line (`takes`), the key of the settings file (`file_section`), the check
(`problems`), the dataclass itself (`build`) and what a resume compares (`recorded`). The reference in docs/cli.md is
written from the options.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from math import isfinite
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from lmcot_cli.errors import UsageError

if TYPE_CHECKING:
    from pydantic import BaseModel

T = TypeVar("T")
Given: TypeAlias = Mapping[str, Any]
"""Values by the name of the setting, as typed or as written in a file; what was not given is absent."""

_SETTING, _GROUP = "setting", "group"


@dataclass(frozen=True, slots=True)
class Rule:
    """The range of numbers that a setting may have.

    Attributes:
        least: The smallest.
        most: The largest.
        above: What it must exceed, in place of `least`.
        below: What it must stay under, in place of `most`.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def allows(self, value: float) -> bool:
        """Return whether a value is in the range."""
        return (
            (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        low, high = (
            self.least if self.above is None else self.above,
            self.most if self.below is None else self.below,
        )
        if high is None:
            return f"{low:,} or more" if self.above is None else f"a number above {low:,}"
        return (
            f"a number {'from' if self.above is None else 'above'} {low:,}"
            f" {'to' if self.below is None else 'and below'} {high:,}"
        )


COUNT = Rule(least=1)
NOT_NEGATIVE = Rule(least=0)
POSITIVE = Rule(above=0)
SHARE = Rule(least=0, most=1)


_NOT_GIVEN: tuple[Any, ...] = (None, (), [])
"""What a command receives for an option that was not typed; an empty list if it may be repeated."""


class _Natural:
    """Marks a setting whose value in a settings file has the type of the field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the declaration of a setting says about it.

    Attributes:
        help: One or two sentences for `--help`.
        panel: Heading under which `--help` lists it.
        flag: The option, if it is not named like the field; `--on/--off` names both forms of a switch.
        short: A one-letter form of the option.
        metavar: Placeholder for the value in `--help`.
        shown: The default as `--help` shows it, if that is not the value itself.
        rule: The range of its values.
        read: Reads the value as typed (or as written in a file); raises `UsageError`.
        in_file: The type of its value in a settings file, if that differs from what is typed; None if a file may not
            set it.
        changes_answers: Whether another value may change results, so that a resume refuses to mix them.
        common: Whether `--help` lists it; `--help-all` lists all.
        typed: Whether the command line has an option for it.
        name: Its name, if that is not the field's.
        complete: Returns the values that begin with what was typed so far, for shell completion.
    """

    help: str
    panel: str | None = None
    flag: str | None = None
    short: str | None = None
    metavar: str | None = None
    shown: str | None = None
    rule: Rule | None = None
    read: Callable[[Any], Any] | None = None
    in_file: Any = _Natural
    changes_answers: bool = False
    common: bool = False
    typed: bool = True
    name: str | None = None
    complete: Callable[[str], list[str]] | None = None


@dataclass(frozen=True, slots=True)
class Declared:
    """A setting as a dataclass declares it.

    Attributes:
        name: Its name on the command line, in files and in records.
        field: The field of the dataclass.
        setting: What is said about it.
        type: The type of its value as typed: the first member of a union.
        default: Its default.
    """

    name: str
    field: str
    setting: Setting
    type: Any
    default: Any

    @property
    def option(self) -> str:
        """The option on the command line, as messages name it; the field's name if there is none."""
        flag = f"--{self.name.replace('_', '-')}" if self.setting.typed else self.name
        return (self.setting.flag or flag).partition("/")[0]

    @property
    def is_list(self) -> bool:
        """Whether it holds several values."""
        return get_origin(self.type) in (tuple, list, Sequence)

    def read(self, value: Any) -> Any:
        """Return the value as the field holds it.

        Raises:
            UsageError: It cannot be read.
        """
        value = self.setting.read(value) if self.setting.read else value
        if self.type is Path and isinstance(value, str):
            return Path(value)
        return tuple(value) if self.is_list and isinstance(value, list) else value

    def problem(self, value: Any) -> str | None:
        """Return what is wrong with a value, None if nothing is."""
        rule = self.setting.rule
        if value is not None and (wanted := self._of_another_type(value)):
            return f"{self.option} {value!r}: give {wanted}"
        if isinstance(value, float) and not isfinite(value):
            return f"{self.option} {value:g}: give a finite number"
        if rule and isinstance(value, int | float) and not rule.allows(value):
            return f"{self.option} {_written(value)}: give {rule}"
        if value is not None and get_origin(self.type) is Literal and value not in get_args(self.type):
            return f"{self.option} {value}: choose one of {', '.join(map(str, get_args(self.type)))}"
        return None

    def _of_another_type(self, value: Any) -> str | None:
        """Return what a value must be if it has the wrong type, else None."""
        types, wanted = _WANTED.get(self.type, ((object,), ""))
        fits = isinstance(value, types) and (
            self.type is bool or not isinstance(value, bool) or object in types
        )
        return None if fits else wanted


_WANTED: Mapping[type, tuple[tuple[type, ...], str]] = {
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    bool: ((bool,), "True or False"),
}
"""The Python types that each type accepts, and how messages ask for them; a bool does not count as a number."""


def read_names(value: str | Sequence[str]) -> tuple[str, ...]:
    """Read several names: one string with commas between them, or a list."""
    listed = value.split(",") if isinstance(value, str) else value
    return tuple(name.strip() for name in listed if name.strip())


def setting(default: T, help: str, **said: Any) -> T:
    """Declare a field of a dataclass as a setting; `said` are further attributes of `Setting`."""
    return field(default=default, metadata={_SETTING: Setting(help=help, **said)})


def setting_from(default_factory: Callable[[], T], help: str, **said: Any) -> T:
    """Declare a setting whose default is made when it is needed."""
    return field(default_factory=default_factory, metadata={_SETTING: Setting(help=help, **said)})


def setting_of(kind: type, name: str, **said: Any) -> Any:
    """Declare a setting as another dataclass declares it; `said` are the attributes of `Setting` that differ."""
    origin = next(one for one in fields(kind) if one.name == name)
    metadata = {_SETTING: replace(origin.metadata[_SETTING], **said)}
    if origin.default is MISSING:
        return field(default_factory=origin.default_factory, metadata=metadata)
    return field(default=origin.default, metadata=metadata)


def group(kind: type[T]) -> T:
    """Declare a field that holds a dataclass of settings; its settings count as those of the dataclass around it."""
    return field(default_factory=kind, metadata={_GROUP: kind})


@functools.cache
def declared(kind: type) -> Mapping[str, Declared]:
    """Return the settings of a dataclass and of the groups in it, by name."""
    hints, found = get_type_hints(kind), dict[str, Declared]()
    for one in fields(kind):
        if inner := one.metadata.get(_GROUP):
            found |= declared(inner)
        elif said := one.metadata.get(_SETTING):
            default = one.default if one.default_factory is MISSING else one.default_factory()
            name = said.name or one.name
            found[name] = Declared(name, one.name, said, _first(hints[one.name]), default)
    return found


def _own(kind: type) -> Iterator[Declared]:
    """Yield the settings that are fields of the dataclass itself."""
    mine = {one.name for one in fields(kind) if _SETTING in one.metadata}
    return (one for one in declared(kind).values() if one.field in mine)


def _groups(kind: type) -> dict[str, type]:
    """Return the dataclasses of the groups, by field."""
    return {one.name: one.metadata[_GROUP] for one in fields(kind) if _GROUP in one.metadata}


def problems(options: Any) -> list[str]:
    """Return what is wrong with the values of a dataclass of settings; groups check their own."""
    own = _own(type(options))
    return [said for one in own if (said := one.problem(getattr(options, one.field)))]


def check(options: Any, *more: str) -> None:
    """Refuse a dataclass of settings with wrong values, or with other problems, given as `more`.

    Raises:
        UsageError: Everything that is wrong, in one message.
    """
    if wrong := dict.fromkeys([*problems(options), *more]):
        raise UsageError("; ".join(wrong))


def build(kind: type[T], given: Given, **own: Any) -> T:
    """Build a dataclass of settings from values as typed or as written in a file.

    Args:
        kind: The dataclass; groups in it are built as well.
        given: The values. Names that are not settings of it are ignored.
        own: Fields that are not settings.

    Raises:
        UsageError: Everything that is wrong with the values, in one message.
    """
    values, wrong = dict[str, Any](), list[str]()
    for name, one in declared(cast("type", kind)).items():
        if given.get(name) in _NOT_GIVEN:
            continue
        try:
            values[name] = one.read(given[name])
        except UsageError as error:
            wrong.append(str(error))
        else:
            wrong += filter(None, [one.problem(values[name])])
    if wrong:
        raise UsageError("; ".join(wrong))
    return _filled(kind, values, own)


def read_pairs(texts: Sequence[str], option: str, *kinds: type) -> dict[str, Any]:
    """Read settings written as `NAME=VALUE`, such as `n_ctx=4096`.

    Args:
        texts: What was typed.
        option: The option that they were typed for, for messages.
        kinds: The dataclasses whose settings may be named.

    Raises:
        UsageError: A text is not such a pair, names no setting, or has a value of the wrong type.
    """
    from pydantic import TypeAdapter, ValidationError

    known = {
        name: one
        for kind in kinds
        for name, one in declared(kind).items()
        if one.setting.in_file is not None  # how keys are kept is set for both models at once
    }
    values = dict[str, Any]()
    for text in texts:
        name, equals, value = text.partition("=")
        one = known.get(name.strip().replace("-", "_"))
        if one is None or not equals:
            raise UsageError(f"{option} {text}: write NAME=VALUE; the names are {', '.join(known)}")
        try:
            values[one.name] = one.read(
                value if one.setting.read else TypeAdapter(one.type).validate_python(value)
            )
        except ValidationError as error:
            raise UsageError(f"{option} {text}: {error.errors()[0]['msg'].lower()}") from error
    return values


def changed(options: T, values: Given) -> T:
    """Return a copy of a dataclass of settings with some values changed; other names are ignored.

    Raises:
        UsageError: A value is wrong.
    """
    fitting = {one.field: values[one.name] for one in _own(type(options)) if one.name in values}
    return cast("T", replace(cast("Any", options), **fitting))


def _filled(kind: type[T], values: Given, own: Given) -> T:
    parts: dict[str, Any] = {
        name: _filled(inner, values, {}) for name, inner in _groups(kind).items() if name not in own
    }
    mine = {one.field: values[one.name] for one in _own(kind) if one.name in values}
    return kind(**{**mine, **parts, **own})


def recorded(options: Any) -> dict[str, Any]:
    """Return the settings that change answers, groups included, as a run file records them."""
    kind = type(options)
    own = {one.name: plain(getattr(options, one.field)) for one in _own(kind) if one.setting.changes_answers}
    for name in _groups(kind):
        own |= recorded(getattr(options, name))
    return own


def plain(value: Any) -> str | int | float | bool | None:
    """Return a value as a run file records it: paths and lists as text."""
    if isinstance(value, tuple | list):
        return ",".join("=".join(map(str, one)) if isinstance(one, tuple) else str(one) for one in value)
    return str(value) if isinstance(value, Path) else value


def file_section(name: str, *kinds: type, without: Collection[str] = (), **more: Any) -> type[BaseModel]:
    """Return the model of a section of a settings file: every key is optional, and unknown keys are refused.

    Args:
        name: The name of the model.
        kinds: The dataclasses whose settings are its keys.
        without: Settings to leave out.
        more: Further keys, with their types.
    """
    from pydantic import ConfigDict, Field, create_model

    types = {
        one.name: file_type(one)
        for kind in kinds
        for one in declared(kind).values()
        if one.setting.in_file is not None and one.name not in without
    }
    keys: dict[str, Any] = {
        key: (kind | None, Field(default=None, strict=False if kind is Path else None))
        for key, kind in (types | more).items()
    }
    return create_model(name, __config__=ConfigDict(extra="forbid", strict=True, frozen=True), **keys)


def file_type(one: Declared) -> Any:
    """Return the type of a setting's value in a settings file."""
    if one.setting.in_file is not _Natural:
        return one.setting.in_file
    return list[str] if one.is_list else one.type


def takes(
    *kinds: type, only: Collection[str] | None = None, without: Collection[str] = (), brief: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of dataclasses of settings, in place of its parameter `given`.

    Args:
        kinds: The dataclasses.
        only: The settings to take; None takes all.
        without: Settings to leave out.
        brief: List only the common options in `--help`.
    """
    known = {name: one for kind in kinds for name, one in declared(kind).items()}
    wanted = (known.keys() if only is None else {*only}) - {*without}
    chosen = [one for name, one in known.items() if name in wanted and one.setting.typed]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        parameters = list[inspect.Parameter]()
        for one in signature.parameters.values():
            if one.name == "given":
                parameters += [_parameter(setting, hidden=brief) for setting in chosen]
            else:
                parameters.append(one.replace(kind=inspect.Parameter.KEYWORD_ONLY))

        @functools.wraps(command)
        def with_given(**values: Any) -> None:
            typed = {one.name: values.pop(one.name, None) for one in chosen}
            command(**values, given={name: value for name, value in typed.items() if value not in _NOT_GIVEN})

        del with_given.__wrapped__  # its signature is not this one's
        with_given.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        with_given.__annotations__ = {one.name: one.annotation for one in parameters}
        return with_given

    return decorate


def _parameter(one: Declared, *, hidden: bool) -> inspect.Parameter:
    """Return the parameter that Typer turns into an option; its value is None if the option was not typed."""
    import typer

    said = one.setting
    names = [said.flag or one.option, *([said.short] if said.short else [])]
    option = typer.Option(
        *names,
        help=said.help,
        metavar=said.metavar,
        show_default=_default(one) or False,
        rich_help_panel=said.panel,
        hidden=hidden and not said.common,
        autocompletion=said.complete,
    )
    typed = list[str] if one.is_list else one.type
    typed = str if said.read and typed is not bool else typed
    return inspect.Parameter(
        one.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[typed | None, option]
    )


def _default(one: Declared) -> str | None:
    """Return the default as `--help` shows it."""
    if one.setting.shown is not None:
        return one.setting.shown
    if isinstance(one.default, bool):
        return "on" if one.default else None
    return None if one.default in _NOT_GIVEN else _written(one.default)


def _written(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _first(hint: Any) -> Any:
    """Return the first member of a union, the type of what is typed; any other type as it is."""
    return get_args(hint)[0] if get_origin(hint) in (Union, types.UnionType) else hint
