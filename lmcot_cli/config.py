"""The settings file `lmcot.toml`: names for models, and defaults of `lmcot answer` that its options override.

    [models]
    qwen = "hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF:qwen2.5-0.5b-instruct-q4_0.gguf"

    [answer]
    small = "qwen"
    samples = 5

    [prices]  # of a million tokens
    "openai:gpt-4o-mini" = { prompt = 0.15, completion = 0.60 }

The file in the working directory is taken, else the one in the user's configuration folder. A file may come with
somebody else's data, so nothing in it is run, and it cannot loosen how a key is kept: the options for those,
`--key-command` and `--allow-plain-http-key`, have no key here, and neither has `--trust-remote-code`. One that is found
in the working directory, and names hosts, prices or prompts, is used once the user has confirmed it. `[keys]`, which
says what key a host gets, is for the user's own file alone (`lmcot_cli.settings.keys`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from lmcot_cli.backends.base import Thinking
from lmcot_cli.backends.endpoint.options import EndpointOptions
from lmcot_cli.backends.engine_options import Dtype, EngineOptions, KvType, parse_parallel
from lmcot_cli.backends.naming import FromSettings, why_taken
from lmcot_cli.datasets.options import parse_fields
from lmcot_cli.errors import InputError, ModelError, ModelSpecError
from lmcot_cli.pipeline.cost import Price
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.pipeline.result import KeepRaw
from lmcot_cli.prompts.options import ShotsBy
from lmcot_cli.prompts.system import names_file
from lmcot_cli.prompts.truncation import Truncate
from lmcot_cli.settings.file import SettingsFile, Standing, find_file, own_path, parse_toml
from lmcot_cli.settings.keys import parse_keys
from lmcot_cli.settings.reach import reach_of
from lmcot_cli.settings.trust import Confirm, check_trust, nobody_confirms

_MOST_SHOWN = 80
"""Characters of a wrong value or name that a message repeats."""
_MOST_TOLD = 5
"""Faults of a file that a message tells of one by one."""

_ANSWER_KEYS = frozenset(field.name for field in fields(AnswerOptions)) - {
    "engine", "endpoint", "aliases", "prices", "settings_file",
}  # fmt: skip
_ENGINE_KEYS = frozenset(field.name for field in fields(EngineOptions))
_ENDPOINT_KEYS = frozenset(field.name for field in fields(EndpointOptions))


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class AnswerDefaults(_Section):
    """The `[answer]` section; what is None is left to the defaults of `AnswerOptions`."""

    method: Literal["standard", "cot", "guided"] | None = None
    small: str | None = None
    large: str | None = None
    samples: int | None = None
    stop: str | None = None
    vote: Literal["majority", "logprob"] | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    max_answer_tokens: int | None = None
    seed: int | None = None
    deterministic: bool | None = None
    finish_within: float | None = None
    prompts: Path | None = Field(default=None, strict=False)
    small_adapter: list[str] | None = None
    thinking: Thinking | None = None
    small_thinking: Thinking | None = None
    large_thinking: Thinking | None = None
    max_thinking_tokens: int | None = None
    keep_thinking: bool | None = None
    keep_raw: KeepRaw | None = None
    truncate: Truncate | None = None
    small_system: str | None = None
    large_system: str | None = None
    shots: int | None = None
    shots_from: Path | None = Field(default=None, strict=False)
    shots_by: ShotsBy | None = None
    answer_kind: str | None = None
    choices: list[str] | None = None
    answer_regex: str | None = None
    fields: dict[str, str] | None = None
    keep_columns: list[str] | None = None
    n_ctx: int | None = None
    parallel: int | Literal["auto"] | None = None
    threads: int | None = None
    gpu_layers: int | None = None
    kv_mib: int | None = None
    kv_type: KvType | None = None
    flash_attention: bool | None = None
    device: str | None = None
    dtype: Dtype | None = None
    endpoint_api: Literal["auto", "chat", "completions"] | None = None
    max_in_flight: int | None = None
    rpm: int | None = None
    tpm: int | None = None
    request_timeout: float | None = None
    total_timeout: float | None = None
    max_reply_mib: int | None = None
    cache: bool | None = None
    reply_cache: Path | None = Field(default=None, strict=False)
    request_fields: list[str] | None = None


class TokenPrice(_Section):
    """A line of the `[prices]` section."""

    prompt: float = Field(ge=0, allow_inf_nan=False)
    completion: float = Field(ge=0, allow_inf_nan=False)


class Config(_Section):
    """A whole settings file that may be used.

    Attributes:
        models: Names of model specs.
        prices: What tokens cost, by these names or by spec.
        keys: The keys of hosts, see `lmcot_cli.settings.keys`, where they are read.
        answer: Defaults of `lmcot answer`.
    """

    models: dict[str, str] = Field(default_factory=dict)
    prices: dict[str, TokenPrice] = Field(default_factory=dict)
    keys: dict[str, Any] = Field(default_factory=dict)
    answer: AnswerDefaults = AnswerDefaults()
    _file: SettingsFile | None = PrivateAttr(default=None)

    @property
    def file(self) -> SettingsFile | None:
        """The file that it was read from; None where there is none."""
        return self._file


def load_config(path: Path | None = None, confirm: Confirm = nobody_confirms) -> Config:
    """Read the settings file named by the user, else the first that exists, else none.

    Relative paths in it, `prompts`, `shots_from` and `reply_cache`, and system messages that name a file there, are
    taken from the folder of the file.

    Args:
        path: The file that the user names.
        confirm: Asks the user whether one that was found in the working directory may do what it would do.

    Raises:
        UnconfirmedSettingsError: The user has not confirmed it.
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
    """Understand a file, whoever has written it: it is not to be used before it is known whose it is.

    Raises:
        InputError: It is not TOML, or has a key or value that is not allowed, or not allowed in this place.
    """
    try:
        config = Config.model_validate(parse_toml(file))
    except ValidationError as error:
        raise InputError(f"{file.path}: {_all_told(error.errors())}") from error
    except RecursionError as error:
        raise InputError(f"{file.path}: is nested too deeply") from error
    _check_place(file, config)
    _check_names(file, config)
    config = _with_paths_from(file.path.parent, config)
    config._file = file
    return config


def answer_options(config: Config, flags: Mapping[str, Any]) -> AnswerOptions:
    """Join the flags that were given with the file's defaults; flags win.

    Args:
        config: The settings file.
        flags: A command's parameters. Those that are named as a field of `AnswerOptions`, `EngineOptions` or
            `EndpointOptions` and are not None count; the others are the command's own business.

    Raises:
        UsageError: A value out of its range.
    """
    given = {
        name: value
        for name, value in flags.items()
        if name in _ANSWER_KEYS | _ENGINE_KEYS | _ENDPOINT_KEYS and value not in _NOT_GIVEN
    }
    values = config.answer.model_dump(exclude_none=True)
    values |= {role: FromSettings(values[role]) for role in ("small", "large") if role in values}
    values |= given
    if given.get("shots") == 0 and "shots_from" not in given:
        values.pop("shots_from", None)  # switched off for once
    for name, parse in _WRITTEN_OUT.items():
        if name in values:
            values[name] = parse(values[name])
    engine = EngineOptions(**{name: values.pop(name) for name in _ENGINE_KEYS & values.keys()})
    prices = {name: Price(price.prompt, price.completion) for name, price in config.prices.items()}
    endpoint = EndpointOptions(**{name: values.pop(name) for name in _ENDPOINT_KEYS & values.keys()})
    file = config.file.path if config.file else None
    return AnswerOptions(
        **values, engine=engine, endpoint=endpoint, aliases=config.models, prices=prices, settings_file=file
    )


_NOT_GIVEN: tuple[Any, ...] = (None, (), [])
"""What a command has for an option that was not given; for one that may be repeated that is a sequence of none."""


def _names(value: str | list[str]) -> tuple[str, ...]:
    """Read several names: a list, or one string with commas."""
    listed = value.split(",") if isinstance(value, str) else value
    return tuple(name.strip() for name in listed if name.strip())


def _pairs(value: str | dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(value.items()) if isinstance(value, dict) else parse_fields(value)


_WRITTEN_OUT: Mapping[str, Callable[[Any], object]] = {
    "parallel": parse_parallel,
    "choices": _names,
    "keep_columns": _names,
    "fields": _pairs,
    "request_fields": tuple,
}
"""Settings that are written in another form than the one they are kept in, and how they are read."""


def _reach(file: SettingsFile, config: Config) -> tuple[str, ...]:
    try:
        return reach_of(config)
    except (ModelSpecError, ModelError) as error:
        raise InputError(f"{file.path}: {error}") from error


def _check_place(file: SettingsFile, config: Config) -> None:
    """Refuse what a file may not say where it is.

    Raises:
        InputError: It sends keys to hosts and is not the user's own, or brings replies from a working directory.
    """
    if config.keys and file.standing is not Standing.OWN:
        raise InputError(f"{file.path}: [keys] is for your own settings file alone: move it to {own_path()}")
    if config.answer.reply_cache and file.in_working_directory:
        raise InputError(
            f"{file.path}: [answer] reply_cache: replies that come with a folder are not believed: remove the line;"
            " for a file of your own, type --reply-cache FILE"
        )
    try:
        parse_keys(config.keys)
    except ValueError as error:
        raise InputError(f"{file.path}: [keys] {error}") from error


def _check_names(file: SettingsFile, config: Config) -> None:
    """Refuse aliases that would change what a spec or another name means.

    Raises:
        InputError: Names the alias.
    """
    for alias, spec in config.models.items():
        if taken := why_taken(alias):
            raise InputError(f"{file.path}: [models] {alias!r} {taken}")
        if spec in config.models:
            raise InputError(
                f"{file.path}: [models] {alias!r} stands for {spec!r}, another alias: write its spec instead"
            )


def _all_told(details: Sequence[Mapping[str, Any]]) -> str:
    """Say where the file is wrong; of very many places the first."""
    more = [f"and {len(details) - _MOST_TOLD} more"] if len(details) > _MOST_TOLD else []
    return "; ".join([*map(_explain, details[:_MOST_TOLD]), *more])


def _explain(detail: Mapping[str, Any]) -> str:
    """Say where the file is wrong, and what is allowed there."""
    section, *keys = (str(part) for part in detail["loc"])
    place = f"[{_word(section)}] {_word('.'.join(keys))}".rstrip()
    if detail["type"] == "model_type" and section == "prices":
        return f"{place}: write what a million tokens cost: {{ prompt = 0.15, completion = 0.60 }}"
    if detail["type"] != "extra_forbidden":
        return f"{place}: {detail['msg'][0].lower()}{detail['msg'][1:]}, not {_shortened(detail['input'])}"
    models: dict[str, type[BaseModel]] = {"answer": AnswerDefaults, "prices": TokenPrice}
    model = models.get(section, Config) if keys else Config
    allowed = ", ".join(model.model_fields)
    return f"{place}: unknown {'key' if keys else 'section'}; allowed are {allowed}"


def _word(name: str) -> str:
    """Write the name of a section or key on one line, and not too much of it."""
    return (name if name.isprintable() else repr(name))[:_MOST_SHOWN]


def _shortened(value: object) -> str:
    """Write a value so that it can be recognised, whatever its size."""
    text = repr(value) if isinstance(value, str | int | float | bool) else f"a {type(value).__name__}"
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _with_paths_from(folder: Path, config: Config) -> Config:
    answer = config.answer
    paths = {"prompts": answer.prompts, "reply_cache": answer.reply_cache, "shots_from": answer.shots_from}
    found: dict[str, Path | str] = {name: folder / path for name, path in paths.items() if path is not None}
    systems = {"small_system": answer.small_system, "large_system": answer.large_system}
    found |= {
        name: str(folder / text) for name, text in systems.items() if text and names_file(folder / text)
    }
    return config.model_copy(update={"answer": answer.model_copy(update=found)})
