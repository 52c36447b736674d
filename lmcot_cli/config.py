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
`--key-command` and `--allow-plain-http-key`, have no key here, and neither has `--trust-remote-code`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lmcot_cli.errors import InputError
from lmcot_cli.pipeline.cost import Price
from lmcot_cli.pipeline.options import AnswerOptions
from lmcot_cli.prompts.system import names_file
from lmcot_cli.settings.declaration import Given, build, file_section

FILE_NAME = "lmcot.toml"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


AnswerDefaults = file_section("AnswerDefaults", AnswerOptions)
"""The `[answer]` section; what is None is left to the defaults of `AnswerOptions`."""


class TokenPrice(_Section):
    """A line of the `[prices]` section."""

    prompt: float = Field(ge=0, allow_inf_nan=False)
    completion: float = Field(ge=0, allow_inf_nan=False)


class Config(_Section):
    """A whole settings file; `models` maps names to model specs, `prices` these or specs to what tokens cost."""

    models: dict[str, str] = Field(default_factory=dict)
    prices: dict[str, TokenPrice] = Field(default_factory=dict)
    answer: AnswerDefaults = AnswerDefaults()  # type: ignore[valid-type]


def config_places() -> list[Path]:
    """Return where the settings file is looked for, first place first."""
    from platformdirs import user_config_path

    return [Path(FILE_NAME), user_config_path("lmcot") / FILE_NAME]


def load_config(path: Path | None = None) -> Config:
    """Read the settings file named by the user, else the first that exists, else none.

    Relative paths in it, `prompts`, `shots_from` and `reply_cache`, and system messages that name a file there, are
    taken from the folder of the file.

    Raises:
        InputError: The file cannot be read, is not TOML, or has a key or value that is not allowed.
    """
    found = path or next((place for place in config_places() if place.is_file()), None)
    if found is None:
        return Config()
    try:
        config = Config.model_validate(_read_toml(found))
    except ValidationError as error:
        raise InputError(f"{found}: {'; '.join(_explain(detail) for detail in error.errors())}") from error
    return _with_paths_from(found.parent, config)


def answer_options(config: Config, given: Given) -> AnswerOptions:
    """Join what was typed with the file's defaults; what was typed wins.

    Args:
        config: The settings file.
        given: The settings that were typed, by name.

    Raises:
        UsageError: Values out of their range, all of them in one message.
    """
    values = config.answer.model_dump(exclude_none=True) | given
    if given.get("shots") == 0 and "shots_from" not in given:
        values.pop("shots_from", None)  # switched off for once
    prices = {name: Price(price.prompt, price.completion) for name, price in config.prices.items()}
    return build(AnswerOptions, values, aliases=config.models, prices=prices)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: is not valid TOML: {error}") from error
    except RecursionError as error:
        raise InputError(f"{path}: is nested too deeply") from error


def read_section(model: type[BaseModel], values: Mapping[str, Any], place: str) -> Given:
    """Check the values of a section, and return those that are set.

    Raises:
        InputError: A key that is unknown, or a value of another type; the message begins with `place`.
    """
    try:
        return model.model_validate(values).model_dump(exclude_none=True)
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, one['loc']))}: {_explain_value(one, model)}" for one in error.errors())
        raise InputError(f"{place} {'; '.join(wrong)}") from error


def _explain_value(detail: Mapping[str, Any], model: type[BaseModel]) -> str:
    if detail["type"] == "extra_forbidden":
        return f"unknown key; allowed are {', '.join(model.model_fields)}"
    return f"{detail['msg'][0].lower()}{detail['msg'][1:]}, not {detail['input']!r}"


def _explain(detail: Mapping[str, Any]) -> str:
    """Say where the file is wrong, and what is allowed there."""
    section, *keys = (str(part) for part in detail["loc"])
    place = f"[{section}] {'.'.join(keys)}".rstrip()
    if detail["type"] == "model_type" and section == "prices":
        return f"{place}: write what a million tokens cost: {{ prompt = 0.15, completion = 0.60 }}"
    if detail["type"] != "extra_forbidden":
        return f"{place}: {detail['msg'][0].lower()}{detail['msg'][1:]}, not {detail['input']!r}"
    models: dict[str, type[BaseModel]] = {"answer": AnswerDefaults, "prices": TokenPrice}
    model = models.get(section, Config) if keys else Config
    allowed = ", ".join(model.model_fields)
    return f"{place}: unknown {'key' if keys else 'section'}; allowed are {allowed}"


def _with_paths_from(folder: Path, config: Config) -> Config:
    answer = config.answer
    paths = {"prompts": answer.prompts, "reply_cache": answer.reply_cache, "shots_from": answer.shots_from}
    found: dict[str, Path | str] = {name: folder / path for name, path in paths.items() if path is not None}
    systems = {"small_system": answer.small_system, "large_system": answer.large_system}
    found |= {
        name: str(folder / text) for name, text in systems.items() if text and names_file(folder / text)
    }
    return config.model_copy(update={"answer": answer.model_copy(update=found)})
