"""Try the chat template of a model folder before torch and transformers load, which takes seconds."""

from __future__ import annotations

from pathlib import Path

from lmcot_cli.backends.chat import ChatTemplate
from lmcot_cli.errors import ModelError
from lmcot_cli.files import read_object

_FILE, _CONFIG = "chat_template.jinja", "tokenizer_config.json"
_MOST_BYTES = 2**26


def try_template(folder: Path) -> None:
    """Render, in the fenced process, what a folder's tokenizer takes for its chat template.

    Raises:
        ModelError: It is not valid Jinja2, or breaks the limits or the sandbox; or a file cannot be read.
    """
    if source := _source(folder):
        ChatTemplate(source, str(folder), {})


def read_bounded(path: Path, most: int = _MOST_BYTES) -> bytes:
    """Return the content of a file of a model.

    Raises:
        ModelError: It cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > most:
        raise ModelError(f"{path}: is larger than {most // 2**20} MiB: take the model from elsewhere")
    return content


def _source(folder: Path) -> str | None:
    if (folder / _FILE).is_file():
        return read_bounded(folder / _FILE).decode("utf-8", "replace")
    given = read_object(folder / _CONFIG, most=_MOST_BYTES, missing_ok=True).get("chat_template")
    if isinstance(given, list):  # several, for several uses
        named = {one.get("name"): one.get("template") for one in given if isinstance(one, dict)}
        given = named.get("default")
    return given if isinstance(given, str) else None
