"""Read what an endpoint answered. Nothing in it is trusted: what is not as it must be is an `UnusableReplyError`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.errors import RowError

_BYTES_PER_TOKEN = 4
"""Of English text; only for endpoints that count no tokens."""

_CUT_SHORT = ("length", "max_tokens")
_BROKEN_OFF = ("abort", "error", "cancelled")


class UnusableReplyError(Exception):
    """A reply that cannot be used; asking again may give one that can."""


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class _Message(_Part):
    content: str | None = None


class _Choice(_Part):
    """A choice of either API: `text` of a plain completion, `message` of a chat."""

    text: str | None = None
    message: _Message | None = None
    finish_reason: str | None = None
    logprobs: Any = None


class _Reply(_Part):
    choices: list[_Choice]
    usage: Any = None


class _Usage(_Part):
    prompt_tokens: Annotated[int, Field(ge=0, lt=2**53)]
    completion_tokens: Annotated[int, Field(ge=0, lt=2**53)]


class _ListedModel(_Part):
    id: str


class _ModelList(_Part):
    data: list[_ListedModel]


class _TokenLogprob(_Part):
    logprob: float


class _ChatLogprobs(_Part):
    content: list[_TokenLogprob]


class _PlainLogprobs(_Part):
    token_logprobs: list[float | None]


_LOGPROBS: TypeAdapter[_ChatLogprobs | _PlainLogprobs] = TypeAdapter(_ChatLogprobs | _PlainLogprobs)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that one call was billed for."""

    prompt_tokens: int
    completion_tokens: int

    @property
    def total(self) -> int:
        """Return prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Answered:
    """What a call brought.

    Attributes:
        replies: One a choice; no more than were asked for, maybe fewer.
        usage: What it cost.
    """

    replies: tuple[Completion | RowError, ...]
    usage: Usage


def read_reply(body: bytes, request: Request, sampling: Sampling, asked: int) -> Answered:
    """Read the reply to a call that asked for `asked` choices.

    The prompt, which is billed once, is counted at the first of several choices. Where the endpoint counts no
    tokens, they are estimated from the length of the text.

    Raises:
        UnusableReplyError: It is no JSON, is not of the API's form, or holds no choice.
    """
    reply = _validated(body)
    choices = reply.choices[:asked]
    if not choices:
        raise UnusableReplyError("the reply holds no choice")
    usage = _usage(reply.usage, request, choices)
    logprobs = [_logprobs(choice.logprobs) for choice in choices]
    counts = _shares(usage.completion_tokens, choices, logprobs)
    replies = [
        _completion(
            choice, sampling, usage.prompt_tokens if index == 0 else 0, counts[index], logprobs[index]
        )
        for index, choice in enumerate(choices)
    ]
    return Answered(tuple(replies), usage)


def read_models(body: bytes) -> list[str] | None:
    """Read the list of models; None if it is none."""
    try:
        return [model.id for model in _ModelList.model_validate_json(body).data]
    except ValidationError:
        return None


def _validated(body: bytes) -> _Reply:
    try:
        return _Reply.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        fault = (
            "no JSON"
            if first["type"] == "json_invalid"
            else f"not of the API's form, at {place or 'its top'}"
        )
        raise UnusableReplyError(f"the reply is {fault}") from None


def _completion(
    choice: _Choice, sampling: Sampling, prompt_tokens: int, tokens: int, logprobs: Sequence[float]
) -> Completion | RowError:
    if choice.finish_reason == "content_filter":
        return RowError("the endpoint's content filter withheld the reply")
    if choice.finish_reason in _BROKEN_OFF:
        raise UnusableReplyError(f"the endpoint broke the reply off ({choice.finish_reason})")
    text, stopped = cut_at_stop(_text(choice), sampling.stop)
    reason: Literal["stop", "length"] = "stop"
    if choice.finish_reason in _CUT_SHORT and not stopped:
        reason = "length"
    mean = sum(logprobs) / len(logprobs) if logprobs else None
    return Completion(text, prompt_tokens, tokens, reason, mean)


def _text(choice: _Choice) -> str:
    """Return a choice's text; a chat message without content (a refusal, say) is an empty one."""
    if choice.message is not None:
        return choice.message.content or ""
    if choice.text is None:
        raise UnusableReplyError("the reply holds a choice without a text")
    return choice.text


def cut_at_stop(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """Cut a text before the first stop string, for endpoints that know none or leave it in."""
    places = [place for place in (text.find(string) for string in stop if string) if place >= 0]
    return (text[: min(places)], True) if places else (text, False)


def _usage(usage: Any, request: Request, choices: Sequence[_Choice]) -> Usage:
    try:
        counted = _Usage.model_validate(usage)
    except ValidationError:
        written = sum(estimated_tokens(_text(choice)) for choice in choices)
        return Usage(estimated_tokens(request.prompt), written)
    return Usage(counted.prompt_tokens, counted.completion_tokens)


def estimated_tokens(text: str) -> int:
    """Estimate the tokens of a text from its length."""
    return -(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN)


def _logprobs(logprobs: Any) -> list[float]:
    """Return the log-probability of each token; none where the endpoint gave none, or none that can be read."""
    try:
        read = _LOGPROBS.validate_python(logprobs)
    except ValidationError:
        return []
    if isinstance(read, _ChatLogprobs):
        found = [token.logprob for token in read.content]
    else:
        found = [logprob for logprob in read.token_logprobs if logprob is not None]
    return found if all(isfinite(logprob) for logprob in found) else []


def _shares(total: int, choices: Sequence[_Choice], logprobs: Sequence[Sequence[float]]) -> list[int]:
    """Divide the tokens of all choices among them: as counted by their log-probabilities, else by length."""
    if len(choices) == 1:
        return [total]
    counted = [len(one) for one in logprobs]
    if sum(counted) == total:
        return counted
    lengths = [len(_text(choice)) + 1 for choice in choices]
    shares = [total * length // sum(lengths) for length in lengths]
    shares[0] += total - sum(shares)
    return shares
