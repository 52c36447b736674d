"""The settings file `lmcot.toml`: names for models, and defaults of `lmcot answer` that its options override.

    [models]
    qwen = "hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF:qwen2.5-0.5b-instruct-q4_0.gguf"

    [answer]
    small = "qwen"
    samples = 5

The file in the working directory is taken, else the one in the user's configuration folder.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lmcot_cli.backends.llama.options import Dtype, EngineOptions
from lmcot_cli.errors import InputError
from lmcot_cli.pipeline.options import AnswerOptions

FILE_NAME = "lmcot.toml"
_ANSWER_KEYS = frozenset(field.name for field in fields(AnswerOptions)) - {"engine", "aliases"}
_ENGINE_KEYS = frozenset(field.name for field in fields(EngineOptions))


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class AnswerDefaults(_Section):
    """The `[answer]` section; what is None is left to the defaults of `AnswerOptions`."""

    method: Literal["standard", "cot", "guided"] | None = None
    small: str | None = None
    large: str | None = None
    samples: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    max_answer_tokens: int | None = None
    seed: int | None = None
    deterministic: bool | None = None
    prompts: Path | None = Field(default=None, strict=False)
    small_adapter: list[str] | None = None
    n_ctx: int | None = None
    parallel: int | None = None
    threads: int | None = None
    gpu_layers: int | None = None
    kv_mib: int | None = None
    device: str | None = None
    dtype: Dtype | None = None
    trust_remote_code: bool | None = None


class Config(_Section):
    """A whole settings file; `models` maps names to model specs."""

    models: dict[str, str] = Field(default_factory=dict)
    answer: AnswerDefaults = AnswerDefaults()


def config_places() -> list[Path]:
    """Return where the settings file is looked for, first place first."""
    from platformdirs import user_config_path

    return [Path(FILE_NAME), user_config_path("lmcot") / FILE_NAME]


def load_config(path: Path | None = None) -> Config:
    """Read the settings file named by the user, else the first that exists, else none.

    A relative folder of `prompts` is taken from the folder of the file.

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
    return _with_prompts_from(found.parent, config)


def answer_options(config: Config, flags: Mapping[str, Any]) -> AnswerOptions:
    """Join the flags that were given with the file's defaults; flags win.

    Args:
        config: The settings file.
        flags: A command's parameters. Those that are named as a field of `AnswerOptions` or `EngineOptions`
            and are not None count; the others are the command's own business.

    Raises:
        UsageError: A value out of its range.
    """
    given = {
        name: value
        for name, value in flags.items()
        if name in _ANSWER_KEYS | _ENGINE_KEYS and value is not None
    }
    values = config.answer.model_dump(exclude_none=True) | given
    engine = EngineOptions(**{name: values.pop(name) for name in _ENGINE_KEYS & values.keys()})
    return AnswerOptions(**values, engine=engine, aliases=config.models)


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


def _explain(detail: Mapping[str, Any]) -> str:
    """Say where the file is wrong, and what is allowed there."""
    section, *keys = (str(part) for part in detail["loc"])
    place = f"[{section}] {'.'.join(keys)}".rstrip()
    if detail["type"] != "extra_forbidden":
        return f"{place}: {detail['msg'][0].lower()}{detail['msg'][1:]}, not {detail['input']!r}"
    model = AnswerDefaults if keys else Config
    allowed = ", ".join(model.model_fields)
    return f"{place}: unknown {'key' if keys else 'section'}; allowed are {allowed}"


def _with_prompts_from(folder: Path, config: Config) -> Config:
    if config.answer.prompts is None:
        return config
    answer = config.answer.model_copy(update={"prompts": folder / config.answer.prompts})
    return config.model_copy(update={"answer": answer})
