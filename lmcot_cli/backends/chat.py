"""Turn a request into text: by the model's chat template, rendered as transformers does it, or as it is.

Text of rows cannot forge a model's marks. Where a message contains the text of a control token (`<|im_end|>`), it is
cut after its first character, and `ChatTemplate.parts` returns the text between the cuts. Tokenized one by one, the
parts give the template's marks as control tokens and those of messages as characters. Other text is a single part.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from lmcot_cli.backends.base import Request, Thinking
from lmcot_cli.backends.thinking import OPENINGS
from lmcot_cli.backends.thinking_switches import EFFORT, ThinkingSwitches
from lmcot_cli.errors import ModelError
from lmcot_cli.fence.limits import ExceededError, FaultError
from lmcot_cli.fence.process import FencedJob

_CUT = "\U000f1c07"
"""A private character that no text of rows should contain; if one does, it is removed."""

_PROBE = "lmcot-probe"

_MOST_SOURCE = 2**18
"""Maximum characters of a template; the longest of known models have a tenth of that."""

_LONG = "All work and no play. " * 200

Message = Mapping[str, str]


class ChatTemplate:
    """A model's chat template, which a fenced process renders within limits.

    Args:
        source: The Jinja2 template. It comes with the model, so it runs in a sandbox.
        model_name: What error messages call the model.
        tokens: Texts of the tokens that the template may name (`bos_token`, `eos_token` and the like).
        marks: Texts that messages must not forge: control tokens, and other marks of the template.

    Raises:
        ModelError: The template is not valid Jinja2, or breaks the limits or the sandbox when it is tried.
    """

    def __init__(
        self, source: str, model_name: str, tokens: Mapping[str, str], marks: Iterable[str] = ()
    ) -> None:
        self._model_name = model_name
        self._source = source
        self._marks = _beginnings(marks)
        if len(source) > _MOST_SOURCE:
            raise self._refused(f"has {len(source):,} characters, more than {_MOST_SOURCE:,}")
        self._job = FencedJob("chat", {"source": source, "tokens": dict(tokens)})
        self._latest: tuple[Any, str] | None = None
        with self._faults_told():
            self._switches = ThinkingSwitches(**self._call("names", compared=EFFORT))
        self._try_out()

    def render(self, request: Request, thinking: Thinking = "off") -> str:
        """Render a request's messages, up to where the model's reply begins.

        Raises:
            ModelError: The template cannot render such a conversation.
        """
        return "".join(self.parts(request, thinking))

    def parts(self, request: Request, thinking: Thinking = "off") -> list[str]:
        """Render a request's messages, and return the text, cut wherever a message would forge a mark.

        Raises:
            ModelError: The template cannot render such a conversation.
        """
        messages: Sequence[Message] = request.messages
        if request.system and not self._takes_system:
            messages = _folded(messages)
        guarded = [{**message, "content": self._guarded(message["content"])} for message in messages]
        return [part for part in self._prompt(guarded, thinking).split(_CUT) if part]

    def thinks(self, thinking: Thinking) -> bool:
        """Return whether the model may think before a reply: not where its template can tell it not to."""
        if thinking != "off" or not self._speaks_of_thinking:
            return thinking != "off"
        return not (self._switches.can_be_off and self._is_switched)

    @cached_property
    def turn_end(self) -> str:
        """The text that the template writes after the last reply of a conversation; may be empty."""
        rendered = self._tried([_message("user", "?"), _message("assistant", _PROBE)])
        return rendered.rpartition(_PROBE)[2] if _PROBE in rendered else ""

    @cached_property
    def _is_switched(self) -> bool:
        """Whether the switches change what the model reads."""
        question = [_message("user", "?")]
        return self._prompt(question, "off") != self._prompt(question, "on")

    @cached_property
    def _speaks_of_thinking(self) -> bool:
        return self._switches.known or any(opening in self._source for opening in OPENINGS)

    @cached_property
    def _takes_system(self) -> bool:
        """Whether the template writes a system message."""
        return _PROBE in self._tried([_message("system", _PROBE), _message("user", "?")])

    def _try_out(self) -> None:
        """Render what a run may ask for, including a long conversation, so that a hostile template shows before it."""
        turns = [_message("user", _LONG), _message("assistant", _LONG), _message("user", "?")]
        for thinking in ("off", "on"):
            values, _ = self._switches.settings(thinking)
            self._tried(turns, add_generation_prompt=True, **values)
        self._tried([_message("system", _LONG), *turns], add_generation_prompt=True)

    def _tried(self, messages: Sequence[Message], **settings: Any) -> str:
        """Render messages; return an empty text where the template refuses them, as it may still render others.

        Raises:
            ModelError: It broke the limits or the sandbox.
        """
        try:
            return self._rendered(messages, settings)
        except FaultError as error:
            if error.kind == "SecurityError":
                raise self._error(error) from error
            return ""

    def _guarded(self, content: str) -> str:
        """Return the text of a message with a cut in each mark; lone surrogates become question marks."""
        content = content.encode("utf-8", "replace").decode().replace(_CUT, "")
        return self._marks.sub(rf"\1{_CUT}", content) if self._marks else content

    def _prompt(self, messages: Sequence[Message], thinking: Thinking) -> str:
        """Render the prompt of a reply."""
        values, word = self._switches.settings(thinking)
        messages = _with_word(messages, word) if word else messages
        with self._faults_told():
            return self._rendered(messages, {"add_generation_prompt": True, **values})

    def _rendered(self, messages: Sequence[Message], settings: Mapping[str, Any]) -> str:
        """Render messages in the fenced process; the latest are asked for twice, as text and for their tokens."""
        asked = ([dict(message) for message in messages], dict(settings))
        if not self._latest or self._latest[0] != asked:
            most = self._job.limits.output + 8 * sum(len(message["content"]) for message in messages)
            self._latest = asked, self._call("render", messages=asked[0], settings=asked[1], most=most)
        return self._latest[1]

    def _call(self, method: str, **arguments: Any) -> Any:
        try:
            return self._job.call(method, **arguments)
        except ExceededError as error:
            raise self._refused(str(error)) from error

    @contextmanager
    def _faults_told(self) -> Iterator[None]:
        try:
            yield
        except FaultError as error:
            raise self._error(error) from error

    def _error(self, error: FaultError) -> ModelError:
        return ModelError(
            f"{self._model_name}: its chat template does not work: {error}; export the model again"
        )

    def _refused(self, reason: str) -> ModelError:
        return ModelError(
            f"{self._model_name}: its chat template {reason}: mend the template, or take the model from elsewhere"
        )


def thinks(template: ChatTemplate | None, thinking: Thinking) -> bool:
    """Return whether a model, with or without a chat template, may think before a reply."""
    return template.thinks(thinking) if template else thinking != "off"


def plain_text(request: Request) -> str:
    """Return what a model without a chat template reads; lone surrogates become question marks."""
    return request.text.encode("utf-8", "replace").decode()


def is_mark(token: str, template: str) -> bool:
    """Return whether a token other than a control token, such as `</think>` in Qwen3, is a mark of the template."""
    return len(token.strip()) > 2 and token in template


def _beginnings(marks: Iterable[str]) -> re.Pattern[str] | None:
    """Return a pattern for the first character of every mark in a text, overlapping ones included."""
    wanted = sorted({mark for mark in marks if len(mark) > 1}, key=len, reverse=True)
    if not wanted:
        return None
    first = "".join(sorted({re.escape(mark[0]) for mark in wanted}))  # some models have thousands of marks
    return re.compile(f"(?=[{first}])(?={'|'.join(map(re.escape, wanted))})(.)", re.DOTALL)


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _folded(messages: Sequence[Message]) -> list[Message]:
    """Put the system message in front of the first user message."""
    system, first, *others = messages
    return [_message("user", f"{system['content']}\n\n{first['content']}"), *others]


def _with_word(messages: Sequence[Message], word: str) -> list[Message]:
    """Append a word that switches thinking to the system message, which is added where there is none."""
    if messages[0]["role"] != "system":
        return [_message("system", word), *messages]
    return [_message("system", f"{messages[0]['content']} {word}".strip()), *messages[1:]]
