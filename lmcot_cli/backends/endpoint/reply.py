"""Read what an endpoint answered. Nothing in it is trusted: what breaks the API's form is an `UnusableReplyError`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lmcot_cli.backends.base import Completion, FinishReason, Request, Sampling, Thought
from lmcot_cli.backends.endpoint.faults import EndpointFaultError, Transient
from lmcot_cli.backends.endpoint.guidance import unwrapped
from lmcot_cli.backends.endpoint.message import Said, read_message, without_tags
from lmcot_cli.backends.endpoint.stream import MOST_CHOICES
from lmcot_cli.errors import RowError

_BYTES_PER_TOKEN = 4
"""Of English text; for endpoints that count no tokens."""

_CUT_SHORT = ("length", "max_tokens")
_BROKEN_OFF = ("abort", "error", "cancelled")


class UnusableReplyError(EndpointFaultError):
    """A reply that cannot be used; asking again may give one that can."""

    def __init__(self, reason: str) -> None:
        super().__init__(Transient(reason))


class _ContentPart(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class _Message(_ContentPart):
    """A chat message: `content` and whatever else an endpoint puts beside it."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow")

    content: str | list[Any] | dict[str, Any] | None = None


class _Choice(_ContentPart):
    """A choice of either API: `text` of a plain completion, `message` of a chat."""

    text: str | None = None
    message: _Message | None = None
    finish_reason: str | None = None
    logprobs: Any = None


class _Reply(_ContentPart):
    choices: Annotated[list[_Choice], Field(max_length=MOST_CHOICES)]
    usage: Any = None


class _Usage(_ContentPart):
    prompt_tokens: Annotated[int, Field(ge=0, lt=2**53)]
    completion_tokens: Annotated[int, Field(ge=0, lt=2**53)]
    completion_tokens_details: Any = None

    @property
    def reasoning_tokens(self) -> int | None:
        """Return the tokens of thoughts among the completion's; None if the endpoint counts none."""
        details = self.completion_tokens_details
        counted = details.get("reasoning_tokens") if isinstance(details, dict) else None
        fits = type(counted) is int and 0 <= counted <= self.completion_tokens
        return counted if fits else None


class _ListedModel(_ContentPart):
    id: str
    owned_by: Any = None


class _ModelList(_ContentPart):
    data: list[_ListedModel]


class _TokenLogprob(_ContentPart):
    logprob: float


class _ChatLogprobs(_ContentPart):
    content: list[_TokenLogprob]


class _PlainLogprobs(_ContentPart):
    token_logprobs: list[float | None]


_LOGPROBS: TypeAdapter[_ChatLogprobs | _PlainLogprobs] = TypeAdapter(_ChatLogprobs | _PlainLogprobs)


@dataclass(frozen=True, slots=True)
class ReplyUsage:
    """Tokens that one call was billed for."""

    prompt_tokens: int
    completion_tokens: int

    @property
    def total(self) -> int:
        """Return prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Answered:
    """The reply of each choice, no more than were asked for but perhaps fewer, and what the call cost."""

    replies: tuple[Completion | RowError, ...]
    usage: ReplyUsage


def read_reply(body: bytes, request: Request, sampling: Sampling, asked: int) -> Answered:
    """Read the reply to a call that asked for `asked` choices.

    The prompt, which is billed once, is counted with the first choice. If the endpoint counts no tokens, they are
    estimated from the length of the text.

    Raises:
        UnusableReplyError: It is no JSON, is not of the API's form, or holds no choice.
    """
    reply = _validated(body)
    choices = reply.choices[:asked]
    if not choices:
        raise UnusableReplyError("the reply holds no choice")
    said = [_said(choice) for choice in choices]
    usage, reasoning = _usage(reply.usage, request, said)
    logprobs = [_logprobs(choice.logprobs) for choice in choices]
    counts = _shares(usage.completion_tokens, said, logprobs)
    replies: list[Completion | RowError] = []
    for choice, one, tokens, logs in zip(choices, said, counts, logprobs, strict=True):
        thought = _thought(one, tokens, reasoning if len(choices) == 1 else None)
        completion = _completion(choice.finish_reason, one, sampling, tokens, logs)
        if isinstance(completion, Completion):
            text = unwrapped(completion.text, request.constraint)
            prompt_tokens = 0 if replies else usage.prompt_tokens
            completion = replace(completion, text=text, prompt_tokens=prompt_tokens, thought=thought)
        replies.append(completion)
    return Answered(tuple(replies), usage)


def read_models(body: bytes) -> tuple[list[str] | None, set[str]]:
    """Read the list of models, and who owns them: own servers name themselves there; None if it is no list."""
    try:
        listed = _ModelList.model_validate_json(body).data
    except ValidationError:
        return None, set()
    return [model.id for model in listed], {one.owned_by for one in listed if isinstance(one.owned_by, str)}


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
    ended: str | None, said: Said, sampling: Sampling, tokens: int, logprobs: Sequence[float]
) -> Completion | RowError:
    """Return what a choice says, cut at a stop string; it has no thought yet, and no tokens of the prompt."""
    if ended == "content_filter":
        return RowError("the endpoint's content filter withheld the reply (finish_reason content_filter)")
    if ended in _BROKEN_OFF:
        raise UnusableReplyError(f"the endpoint broke the reply off ({ended})")
    if fault := said.fault(ended):
        return fault
    text, stopped = cut_at_stop(said.text, sampling.stop)
    reason: FinishReason = "length" if ended in _CUT_SHORT and not stopped else "stop"
    return Completion(text, 0, tokens, reason, sum(logprobs) / len(logprobs) if logprobs else None)


def _thought(said: Said, tokens: int, reasoning: int | None) -> Thought | None:
    """Return the thought of a choice; None where there is none, and nothing was counted for one.

    Args:
        said: What the choice holds.
        tokens: How many it took.
        reasoning: Those of its thought by the endpoint's count; without it they are as many as its share of the text.
    """
    if reasoning is None or (said.thought and not reasoning):
        whole = len(said.thought) + len(said.text.strip())
        reasoning = round(tokens * len(said.thought) / whole) if whole else 0
    if not said.thought.strip() and not reasoning:
        return None
    return Thought(reasoning, said.thought.strip() or None, said.finished and bool(said.text.strip()))


def without_reply(reply: Completion) -> RowError | None:
    """Return the error of a reply that ends after its thought though it had tokens left, or None."""
    if reply.text.strip() or reply.thought is None or reply.finish_reason == "length":
        return None
    return RowError(
        "the model thought and wrote no reply after it: try --thinking auto, or another field for it by"
        " --request-field (some servers take every reply for a thought where thinking is off)"
    )


def _said(choice: _Choice) -> Said:
    """Read what a choice of either API holds."""
    if choice.message is not None:
        return without_tags(read_message(choice.message.model_dump()))
    if choice.text is None and choice.finish_reason == "content_filter":
        return Said("")
    if choice.text is None:
        raise UnusableReplyError("the reply holds a choice without a text")
    return without_tags(Said(choice.text))


def cut_at_stop(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """Cut a text before the first stop string that follows text which is not blank."""
    begin = len(text) - len(text.lstrip()) + 1
    places = [place for place in (text.find(string, begin) for string in stop if string) if place >= 0]
    return (text[: min(places)], True) if places else (text, False)


def _usage(usage: Any, request: Request, said: Sequence[Said]) -> tuple[ReplyUsage, int | None]:
    """Return what was billed, and how much of it for thoughts if the endpoint counts that."""
    try:
        counted = _Usage.model_validate(usage)
    except ValidationError:
        written = sum(estimated_tokens(one.thought + one.text) for one in said)
        return ReplyUsage(estimated_tokens(request.text), written), None
    return ReplyUsage(counted.prompt_tokens, counted.completion_tokens), counted.reasoning_tokens


def estimated_tokens(text: str) -> int:
    """Estimate the tokens of a text from its length."""
    return -(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN)


def _logprobs(logprobs: Any) -> list[float]:
    """Return the log-probability of each token; nothing if they are missing or unreadable."""
    try:
        read = _LOGPROBS.validate_python(logprobs)
    except ValidationError:
        return []
    if isinstance(read, _ChatLogprobs):
        found = [token.logprob for token in read.content]
    else:
        found = [logprob for logprob in read.token_logprobs if logprob is not None]
    return found if all(isfinite(logprob) for logprob in found) else []


def _shares(total: int, said: Sequence[Said], logprobs: Sequence[Sequence[float]]) -> list[int]:
    """Divide the tokens among the choices: by the number of their log-probabilities, else by length."""
    if len(said) == 1:
        return [total]
    counted = [len(one) for one in logprobs]
    if sum(counted) == total:
        return counted
    lengths = [len(one.thought) + len(one.text) + 1 for one in said]
    shares = [total * length // sum(lengths) for length in lengths]
    shares[0] += total - sum(shares)
    return shares
