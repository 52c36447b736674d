"""The settings file `lmcot.toml`: names for models, and defaults of `lmcot answer` that its options override.

    [models]
    qwen = "hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF:qwen2.5-0.5b-instruct-q4_0.gguf"

    [answer]
    small = "qwen"
    samples = 5

    [prices]  # of a million tokens
    "openai:gpt-4o-mini" = { prompt = 0.15, completion = 0.60 }

lmcot reads the file in the working directory, or else the one in the user's configuration folder. A file may come with
somebody else's data, so nothing in it is run, and it cannot weaken the protection of keys: `--key-command`,
`--allow-plain-http-key` and `--trust-remote-code` have no key here. A file that is found in the working directory and
names hosts, models, prices or prompts is used only once the user has confirmed it. `[keys]`, which says what key a host
gets, is allowed only in the user's own file (`lmcot_cli.settings.keys`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from lmcot_cli.backends.naming import FromSettings, why_taken
from lmcot_cli.errors import InputError, ModelError, ModelSpecError, did_you_mean
from lmcot_cli.pipeline.cost import Price
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.prompts.system import names_file
from lmcot_cli.settings.declaration import Given, build, file_section
from lmcot_cli.settings.file import SettingsFile, Standing, find_file, own_path, parse_toml
from lmcot_cli.settings.keys import parse_keys
from lmcot_cli.settings.reach import reach_of
from lmcot_cli.settings.trust import Confirm, check_trust, nobody_confirms

_MOST_SHOWN = 80
"""Characters of a wrong value or name that a message quotes."""
_MOST_TOLD = 5
"""Faults of a file that a message lists."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TokenPrice(_Section):
    """A line of the `[prices]` section."""

    prompt: float = Field(ge=0, allow_inf_nan=False)
    completion: float = Field(ge=0, allow_inf_nan=False)


ANSWER = file_section("Answer", AnswerOptions)
"""The section `[answer]`; a value of None stands for the default of `AnswerOptions`."""
_SECTIONS: dict[str, Any] = {
    "models": (dict[str, str], {}),
    "prices": (dict[str, TokenPrice], {}),
    "keys": (dict[str, Any], {}),
    "answer": (ANSWER, None),
}
_File = create_model("File", __base__=_Section, **_SECTIONS)


@dataclass(frozen=True, slots=True)
class Config:
    """The content of a settings file.

    Attributes:
        models: Model specs by alias.
        prices: Prices of tokens, by alias or by spec.
        keys: The keys of hosts; `lmcot_cli.settings.keys` reads them.
        answer: Defaults of `lmcot answer`.
        file: The file it was read from; None if there is none.
    """

    models: Mapping[str, str] = field(default_factory=dict)
    prices: Mapping[str, Price] = field(default_factory=dict)
    keys: Mapping[str, Any] = field(default_factory=dict)
    answer: Given = field(default_factory=dict)
    file: SettingsFile | None = None

    @property
    def reach(self) -> tuple[str, ...]:
        """What the file does besides setting numbers and switches; see `reach_of`."""
        return reach_of(self.models, self.answer, prices=bool(self.prices))


def load_config(path: Path | None = None, confirm: Confirm = nobody_confirms) -> Config:
    """Read the settings file that the user names, or else the first that exists.

    Relative paths in the file start at its folder: `prompts`, `shots_from`, `reply_cache`, and system messages that are
    the name of a file there.

    Args:
        path: The file that the user names.
        confirm: Asks the user whether a file that was found in the working directory may be used.

    Raises:
        UnconfirmedSettingsError: The user does not confirm it.
        InputError: The file cannot be read, is not TOML, or has a key or value that is not allowed.
    """
    file = find_file(path)
    if file is None:
        return Config()
    config = parse_config(file)
    if file.standing is Standing.FOUND:
        check_trust(file, _reach(file, config), confirm)
    return config


def parse_config(file: SettingsFile) -> Config:
    """Return the content of a file that anybody may have written; the caller checks whether it may be used.

    Raises:
        InputError: It is not TOML, or has a key or value that is not allowed, or not allowed in such a file.
    """
    try:
        read = _File.model_validate(parse_toml(file)).model_dump(exclude_none=True)
    except ValidationError as error:
        raise InputError(f"{file.path}: {_all_told(error.errors(), _explain)}") from error
    except RecursionError as error:
        raise InputError(f"{file.path}: is nested too deeply") from error
    prices = {name: Price(**price) for name, price in read.pop("prices", {}).items()}
    answer = with_paths_from(file.path.parent, read.pop("answer", {}))
    config = Config(**read, prices=prices, answer=answer, file=file)
    _check_place(file, config)
    _check_names(file, config)
    return config


def answer_options(config: Config, given: Given) -> AnswerOptions:
    """Return the settings of a call: what was typed, and the file's defaults for the rest.

    Args:
        config: The settings file.
        given: The settings that were typed, by name.

    Raises:
        UsageError: Values are out of range; the message names all of them.
    """
    named = {role: FromSettings(config.answer[role]) for role in ("small", "large") if role in config.answer}
    values = {**config.answer, **named, **{name: value for name, value in given.items() if value is not None}}
    if given.get("shots") == 0 and "shots_from" not in given:
        values.pop("shots_from", None)  # switched off for this call
    file = config.file.path if config.file else None
    return build(AnswerOptions, values, aliases=config.models, prices=config.prices, settings_file=file)


def _reach(file: SettingsFile, config: Config) -> tuple[str, ...]:
    try:
        return config.reach
    except (ModelSpecError, ModelError) as error:
        raise InputError(f"{file.path}: {error}") from error


def _check_place(file: SettingsFile, config: Config) -> None:
    """Refuse what a file may not set in its place.

    Raises:
        InputError: It sets keys and is not the user's own, or names a reply cache and is in the working directory.
    """
    if config.keys and file.standing is not Standing.OWN:
        raise InputError(
            f"{file.path}: [keys] is allowed only in your own settings file: move it to {own_path()}"
        )
    if "reply_cache" in config.answer and file.in_working_directory:
        raise InputError(
            f"{file.path}: [answer] reply_cache: replies that come with a folder are not trusted: remove the line,"
            " and name a file of your own with --reply-cache FILE"
        )
    try:
        parse_keys(config.keys)
    except ValueError as error:
        raise InputError(f"{file.path}: [keys] {error}") from error


def _check_names(file: SettingsFile, config: Config) -> None:
    """Refuse aliases that would change the meaning of a spec or of another alias.

    Raises:
        InputError: There is such an alias; the message names it.
    """
    for alias, spec in config.models.items():
        if taken := why_taken(alias):
            raise InputError(f"{file.path}: [models] {alias!r} {taken}")
        if spec in config.models:
            raise InputError(
                f"{file.path}: [models] {alias!r} stands for {spec!r}, another alias: write its spec instead"
            )


def _all_told(details: Sequence[Mapping[str, Any]], explain: Callable[[Mapping[str, Any]], str]) -> str:
    """Return where a file or section is wrong; of very many places, only the first ones."""
    more = [f"and {len(details) - _MOST_TOLD} more"] if len(details) > _MOST_TOLD else []
    return "; ".join([*map(explain, details[:_MOST_TOLD]), *more])


def _explain(detail: Mapping[str, Any]) -> str:
    """Return one place where the file is wrong, and what is allowed there."""
    section, *keys = (str(part) for part in detail["loc"])
    place = f"[{_word(section)}] {_word('.'.join(keys))}".rstrip()
    if detail["type"] == "model_type" and section == "prices":
        return f"{place}: write the prices of a million tokens: {{ prompt = 0.15, completion = 0.60 }}"
    models: dict[str, type[BaseModel]] = {"answer": ANSWER, "prices": TokenPrice}
    model = models.get(section, _File) if keys else _File
    return f"{place}: {_explain_value(detail, model, 'key' if keys else 'section')}"


def _explain_value(detail: Mapping[str, Any], model: type[BaseModel], kind: str = "key") -> str:
    if detail["type"] == "extra_forbidden":
        name = str(detail["loc"][-1])
        return f"unknown {kind}{did_you_mean(name, model.model_fields) or _allowed(model)}"
    return f"{detail['msg'][0].lower()}{detail['msg'][1:]}, not {_shortened(detail['input'])}"


def _allowed(model: type[BaseModel]) -> str:
    return f"; allowed are {', '.join(model.model_fields)}"


def _word(name: str) -> str:
    """Return the name of a section or key on one line, cut where it is very long."""
    return (name if name.isprintable() else repr(name))[:_MOST_SHOWN]


def _shortened(value: object) -> str:
    """Return a value as text, cut where it is very long."""
    text = repr(value) if isinstance(value, str | int | float | bool) else f"a {type(value).__name__}"
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def with_paths_from(folder: Path, values: Given) -> Given:
    """Return settings whose relative paths, and system messages that name a file, start at a folder."""
    found = {name: folder / value for name, value in values.items() if isinstance(value, Path)}
    texts = {name: folder / values[name] for name in ("small_system", "large_system") if values.get(name)}
    return {**values, **found, **{name: str(path) for name, path in texts.items() if names_file(path)}}


def read_section(model: type[BaseModel], values: Mapping[str, Any], place: str) -> Given:
    """Check the values of a section and return those that are set.

    Raises:
        InputError: A key is unknown, or a value has the wrong type; the message begins with `place`.
    """
    try:
        return model.model_validate(values).model_dump(exclude_none=True)
    except ValidationError as error:

        def explain(detail: Mapping[str, Any]) -> str:
            return f"{_word('.'.join(map(str, detail['loc'])))}: {_explain_value(detail, model)}"

        raise InputError(f"{place} {_all_told(error.errors(), explain)}") from error
