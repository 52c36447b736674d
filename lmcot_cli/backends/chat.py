"""How a request becomes text: by the model's chat template, rendered as transformers does it, or as it is.

Text of rows cannot forge a model's marks. Where a message holds the text of a control token (`<|im_end|>`), it is cut
behind its first character, and `ChatTemplate.parts` returns what lies between the cuts: tokenized one by one, with
control tokens read, the parts give the template's marks as marks and the message's as the characters they are. Any
other text is one part, and tokenized as ever.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from lmcot_cli.backends.base import Request, Thinking
from lmcot_cli.backends.thinking import OPENINGS
from lmcot_cli.backends.thinking_switches import ThinkingSwitches
from lmcot_cli.errors import ModelError

_CUT = "\U000f1c07"
"""A private character, which no text of rows should hold: where one does, it is taken out."""

_PROBE = "lmcot-probe"

_FAULTS = (TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What the expressions of a template can raise: it may add strings to lists, divide by zero, call itself."""

Message = Mapping[str, str]


class ChatTemplate:
    """A model's chat template.

    Args:
        source: The Jinja2 template. It comes with the model, so it runs in a sandbox.
        model_name: What error messages call the model.
        tokens: What the template may name: texts of `bos_token`, `eos_token` and the like.
        marks: Texts of the control tokens, and of what else messages must not forge.

    Raises:
        ModelError: The template is not valid Jinja2.
    """

    def __init__(
        self, source: str, model_name: str, tokens: Mapping[str, str], marks: Iterable[str] = ()
    ) -> None:
        self._model_name = model_name
        self._source = source
        self._tokens = tokens
        self._marks = _beginnings(marks)
        try:
            self._template = _environment().from_string(source)
            self._switches = ThinkingSwitches(_environment().parse(source))
        except TemplateError as error:
            raise self._error(error) from error

    def render(self, request: Request, thinking: Thinking = "off") -> str:
        """Render a request's messages, up to where the model's reply begins.

        Raises:
            ModelError: The template cannot render such a conversation.
        """
        return "".join(self.parts(request, thinking))

    def parts(self, request: Request, thinking: Thinking = "off") -> list[str]:
        """Render a request's messages; return the text, cut wherever a message would forge a mark.

        Raises:
            ModelError: The template cannot render such a conversation.
        """
        messages: Sequence[Message] = request.messages
        if request.system and not self._takes_system:
            messages = _folded(messages)
        guarded = [{**message, "content": self._guarded(message["content"])} for message in messages]
        return [part for part in self._prompt(guarded, thinking).split(_CUT) if part]

    def thinks(self, thinking: Thinking) -> bool:
        """Tell whether the model may think before a reply: not where its template says that it shall not."""
        if thinking != "off" or not self._speaks_of_thinking:
            return thinking != "off"
        return not (self._switches.can_be_off and self._is_switched)

    @cached_property
    def turn_end(self) -> str:
        """What the template writes after a reply that is the last turn of a conversation; empty where nothing."""
        try:
            rendered = self._render([_message("user", "?"), _message("assistant", _PROBE)])
        except ModelError:  # it may yet render what it is asked for
            return ""
        return rendered.rpartition(_PROBE)[2] if _PROBE in rendered else ""

    @cached_property
    def _is_switched(self) -> bool:
        """Whether the switch makes a difference to what a model reads."""
        question = [_message("user", "?")]
        return self._prompt(question, "off") != self._prompt(question, "on")

    @cached_property
    def _speaks_of_thinking(self) -> bool:
        return self._switches.known or any(opening in self._source for opening in OPENINGS)

    @cached_property
    def _takes_system(self) -> bool:
        """Whether a system message finds its way into the text."""
        try:
            return _PROBE in self._render([_message("system", _PROBE), _message("user", "?")])
        except ModelError:
            return False

    def _guarded(self, content: str) -> str:
        """Return a message's text with a cut in each mark; lone surrogates become question marks."""
        content = content.encode("utf-8", "replace").decode().replace(_CUT, "")
        return self._marks.sub(rf"\1{_CUT}", content) if self._marks else content

    def _prompt(self, messages: Sequence[Message], thinking: Thinking) -> str:
        """Render what the model replies to."""
        values, word = self._switches.settings(thinking)
        messages = _with_word(messages, word) if word else messages
        return self._render(messages, add_generation_prompt=True, **values)

    def _render(self, messages: Sequence[Message], **settings: Any) -> str:
        try:
            return self._template.render(messages=messages, **settings, **self._tokens)
        except _FAULTS as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> ModelError:
        return ModelError(
            f"{self._model_name}: its chat template does not work: {error}; export the model again"
        )


def thinks(template: ChatTemplate | None, thinking: Thinking) -> bool:
    """Tell whether a model, with a chat template or without one, may think before a reply."""
    return template.thinks(thinking) if template else thinking != "off"


def plain_text(request: Request) -> str:
    """Return a request as a model without a chat template gets it; lone surrogates become question marks."""
    return request.text.encode("utf-8", "replace").decode()


def is_mark(token: str, template: str) -> bool:
    """Tell whether a token that is no control token, such as `</think>` in Qwen3, is a mark that a template writes."""
    return len(token.strip()) > 2 and token in template


def _beginnings(marks: Iterable[str]) -> re.Pattern[str] | None:
    """Return what finds the first character of every mark in a text, of overlapping ones too."""
    wanted = sorted({mark for mark in marks if len(mark) > 1}, key=len, reverse=True)
    if not wanted:
        return None
    first = "".join(sorted({re.escape(mark[0]) for mark in wanted}))  # some models have thousands of marks
    return re.compile(f"(?=[{first}])(?={'|'.join(map(re.escape, wanted))})(.)", re.DOTALL)


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _folded(messages: Sequence[Message]) -> list[Message]:
    """Put the system message in front of the first user's."""
    system, first, *others = messages
    return [_message("user", f"{system['content']}\n\n{first['content']}"), *others]


def _with_word(messages: Sequence[Message], word: str) -> list[Message]:
    """Put a word that switches thinking behind the system message, one of its own where there is none."""
    system = messages[0] if messages[0]["role"] == "system" else _message("system", "")
    others = messages[1:] if messages[0]["role"] == "system" else messages
    return [_message("system", f"{system['content']} {word}".strip()), *others]


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
