"""Judge what went wrong with a call: may it pass, is it the request's own fault, or does it concern all calls?"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias

from lmcot_cli.backends.endpoint.credit import is_exhausted
from lmcot_cli.backends.endpoint.key import ApiKey
from lmcot_cli.errors import ModelError

_TRANSIENT = (408, 409, 425, 429)
_BUSY = (408, 429, 503, 504)
_LONGEST_MESSAGE = 300
_TOO_LONG = re.compile(
    r"context[ _](?:length|size|window)|prompt is too long|input is too long|too many (?:input )?tokens"
    r"|(?:input|prompt)\w* (?:tokens?|token count|length)\b.{0,40}\bexceeds?\b|must be <= \d+\. Given",
    re.IGNORECASE,
)
"""How endpoints say that a prompt is too long: OpenAI and vLLM, llama-server, Anthropic, Gemini, TGI."""
_COUNT = re.compile(r"\b\d{3,3}(?:,\d{3})+\b|\b\d{1,2}(?:,\d{3})+\b|\b\d{3,}\b")
_LONGEST_WAIT = 86_400.0
_LOOKED_AT = 10_000
"""Characters of a message that are read; far more than are shown, so that no part of a key is."""

_STATUS_OF: Mapping[str, int] = {
    "auth": 401, "api_key": 401, "permission": 403, "forbidden": 403, "moderation": 403,
    "rate_limit": 429, "too_many_requests": 429, "overloaded": 503, "unavailable": 503, "timeout": 504,
    "context_length": 400, "content_filter": 400, "too_long": 400, "bad_request": 400, "badrequest": 400,
    "unsupported": 400, "not_supported": 400, "invalid": 400, "not_found": 404, "notfound": 404,
}  # fmt: skip
"""The status of an error that comes with a 200, by a part of its code or type."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that refuses this call: its HTTP status and message, the parameter it names, its code and type."""

    status: int
    message: str
    parameter: str | None = None
    code: str | None = None
    kind: str | None = None

    @property
    def forbids(self) -> bool:
        """Whether it is a 403, which is about the prompt if the key is known to be good, else perhaps about the key."""
        return self.status == 403

    @property
    def about_length(self) -> bool:
        """Whether the prompt was too long."""
        return self.code == "context_length_exceeded" or bool(_TOO_LONG.search(self.message))

    @property
    def too_many_tokens(self) -> float:
        """Return which share of the tokens is too many, by the numbers of the refusal; without them a third."""
        numbers = [int(found.replace(",", "")) for found in _COUNT.findall(self.message)][:2]
        limit, asked = (min(numbers), max(numbers)) if len(numbers) == 2 else (2, 3)
        return (asked - limit) / asked if limit < asked else 1 / 3

    @property
    def about_content(self) -> bool:
        """Whether a content filter stopped the prompt."""
        return (
            "content_filter" in (self.code, self.kind) or "content management policy" in self.message.lower()
        )

    def __str__(self) -> str:
        return f"the endpoint answered {self.status}: {self.message}"


@dataclass(frozen=True, slots=True)
class Transient:
    """A failure that may be over when the call is tried again.

    Attributes:
        reason: For messages.
        retry_after: Seconds that the endpoint asks to wait.
        busy: Whether fewer calls at once may help.
        late: Whether nothing came in time.
        refusal: The answer, if it may be a refusal: some endpoints answer 500 to a parameter they do not take.
    """

    reason: str
    retry_after: float | None = None
    busy: bool = False
    late: bool = False
    refusal: Refusal | None = None

    def __str__(self) -> str:
        return self.reason


Fault: TypeAlias = Transient | Refusal | ModelError


class EndpointFaultError(Exception):
    """A call that brought no reply; `fault` says why."""

    def __init__(self, fault: Transient | Refusal) -> None:
        super().__init__(str(fault))
        self.fault = fault


class UnreachableError(EndpointFaultError):
    """No connection could be made; the message says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(Transient(reason))


class AdaptedError(Exception):
    """A call was refused for how it was written, and would be written differently now."""


def judge_status(status: int, headers: Mapping[str, str], body: Any, key: ApiKey, name: str) -> Fault:
    """Judge an HTTP status of 300 or more.

    Args:
        status: The status.
        headers: The reply's headers, names in any case.
        body: The reply, parsed if it is JSON.
        key: The key in use, to keep it out of messages.
        name: The endpoint, for messages.
    """
    refusal = _refusal(status, body, key)
    if is_exhausted(status, refusal.message, refusal.code, refusal.kind):
        said = f"{status}: {refusal.message}"
        return ModelError(
            f"{name}: the account has no credit left ({said}): add credit, then give the same command again"
        )
    if status == 401:
        return refused_key(refusal, key, name)
    if 300 <= status < 400:
        return ModelError(f"{name} answers that it has moved ({status}): give the URL that it moved to")
    if status in _TRANSIENT or (status >= 500 and status not in (501, 505)):
        reason, perhaps = f"{status}: {refusal.message}", refusal if status >= 500 else None
        return Transient(reason, retry_after(headers), status in _BUSY, refusal=perhaps)
    return refusal


def refused_key(refusal: Refusal, key: ApiKey, name: str) -> ModelError:
    """Return the error of an endpoint that refuses every call; a 403 may have another cause than the key."""
    if refusal.forbids:
        return ModelError(f"{name} forbids every call (403: {refusal.message}): {key.advice}")
    return ModelError(f"{name} refused the key ({refusal.status}): {key.advice}")


def judge_body(body: bytes, key: ApiKey, name: str) -> Fault | None:
    """Find an error in the body of a reply that came with status 200: at the top, or in the first choice."""
    if b'"choices"' in body and b'"error"' not in body:
        return None
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        return None
    error = _error_in(reply)
    return None if error is None else judge_status(_status_of(error), {}, {"error": error}, key, name)


def _error_in(reply: Any) -> Any:
    """Return the error that a decoded reply holds, or None."""
    if not isinstance(reply, dict):
        return None
    choices = reply.get("choices")
    if isinstance(choices, list) and choices:
        only = choices[0] if len(choices) == 1 and isinstance(choices[0], dict) else {}
        return only.get("error") or (None if _has_text(only) else reply.get("error"))
    if reply.get("error"):
        return reply["error"]
    # Some endpoints put the fields of the error at the top.
    return reply if "choices" not in reply and {"message", "msg", "detail"} & reply.keys() else None


def _has_text(choice: Mapping[str, Any]) -> bool:
    message = choice.get("message")
    return bool(choice.get("text") or (isinstance(message, dict) and message.get("content")))


def _status_of(error: Any) -> int:
    """Return the HTTP status that an error within a 200 should have had; 500 if nothing tells."""
    if not isinstance(error, dict):
        return 500
    for name in ("code", "status", "status_code", "http_status"):
        number = str(error.get(name))
        if number.isascii() and number.isdigit() and len(number) == 3 and int(number) >= 400:
            return int(number)
    said = f"{error.get('code')} {error.get('status')} {error.get('type')}".lower()
    too_long = 400 if _TOO_LONG.search(str(error.get("message"))) else 500
    return next((status for word, status in _STATUS_OF.items() if word in said), too_long)


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Read how many seconds the endpoint asks to wait: `retry-after-ms`, or Retry-After as a number or a date.

    More than a day counts as a day, which is longer than any time-out.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    value = headers.get("retry-after")
    if milliseconds is not None:
        seconds: float | None = milliseconds / 1000
    else:
        seconds = _number(value)
        if seconds is None and value is not None:
            seconds = _seconds_until(value, now or datetime.now(UTC))
    return None if seconds is None else min(seconds, _LONGEST_WAIT)


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else -1.0
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


def _seconds_until(date: str, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, TypeError, OverflowError):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())


def _refusal(status: int, body: Any, key: ApiKey) -> Refusal:
    """Read message, parameter and code of an error in any of the usual forms."""
    details = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(details, dict):
        return Refusal(status, on_one_line(details, key))
    message = next((details[name] for name in ("message", "msg", "detail") if name in details), details)
    raw = _provider(details)
    return Refusal(
        status,
        on_one_line(f"{message}: {raw}" if raw else message, key),
        _text(details.get("param")),
        _text(details.get("code")),
        _text(details.get("type")),
    )


def _provider(details: Mapping[str, Any]) -> str | None:
    """Return what the provider behind a router said, if the router passes it on (`metadata.raw`)."""
    metadata = details.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    return raw if isinstance(raw, str) and raw.strip() else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def on_one_line(message: Any, key: ApiKey) -> str:
    """Return anything as one short line, without the key."""
    try:
        text = " ".join(key.redact(str(message)[:_LOOKED_AT]).encode("utf-8", "replace").decode().split())
    except RecursionError:  # JSON within JSON, thousands deep
        text = ""
    return f"{text[:_LONGEST_MESSAGE]}..." if len(text) > _LONGEST_MESSAGE else text or "no reason given"
