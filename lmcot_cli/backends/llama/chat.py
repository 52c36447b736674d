"""Render a chat template embedded in a model file, the way transformers renders it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from lmcot_cli.errors import ModelError

if TYPE_CHECKING:
    from lmcot_cli.backends.llama.model import LlamaModel
    from lmcot_cli.backends.llama.vocabulary import Vocabulary


class ChatTemplate:
    """A model's chat template.

    Args:
        source: The Jinja2 template. It comes with the model, so it runs in a sandbox.
        model_name: What error messages call the model.
        bos_token: Text of the beginning-of-text token, for templates that write it themselves.
        eos_token: Text of the end-of-text token.

    Raises:
        ModelError: The template is not valid Jinja2.
    """

    def __init__(self, source: str, model_name: str, bos_token: str, eos_token: str) -> None:
        self._model_name = model_name
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}
        try:
            self._template = _environment().from_string(source)
        except TemplateError as error:
            raise self._error(error) from error

    def render(self, prompt: str) -> str:
        """Render `prompt` as the user's only message, up to where the model's answer begins.

        Raises:
            ModelError: The template cannot render such a conversation.
        """
        messages = [{"role": "user", "content": prompt}]
        try:
            return self._template.render(messages=messages, add_generation_prompt=True, **self._tokens)
        except (TemplateError, TypeError) as error:  # templates add strings to lists and the like
            raise self._error(error) from error

    def _error(self, error: Exception) -> ModelError:
        return ModelError(
            f"{self._model_name}: its chat template does not work: {error}; export the model again"
        )


def template_of(model: LlamaModel, vocabulary: Vocabulary) -> ChatTemplate | None:
    """Return the chat template that a model file has, None where it has none.

    Raises:
        ModelError: The template is not valid Jinja2.
    """
    source = model.chat_template
    if not source:
        return None
    return ChatTemplate(source, str(model.path), vocabulary.bos_text, vocabulary.eos_text)


class _GenerationBlock(Extension):
    """Accept `{% generation %}`, which marks the assistant's words for training; here it changes nothing."""

    tags = {"generation"}  # noqa: RUF012 (declared so in Jinja2)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlock, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _tojson
    environment.globals |= {"raise_exception": _raise_exception, "strftime_now": _strftime_now}
    return environment


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)  # Jinja2's own escapes HTML


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)
