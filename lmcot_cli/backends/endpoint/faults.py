"""Judge what went wrong with a call: is it worth trying again, is it this request's own fault, or everybody's?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias

from lmcot_cli.backends.endpoint.key import ApiKey
from lmcot_cli.errors import ModelError

_TRANSIENT = (408, 409, 425, 429)
_BUSY = (408, 429, 503, 504)
_NO_CREDIT = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
_LONGEST_MESSAGE = 300


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that says no to this very call.

    Attributes:
        status: HTTP status.
        message: The endpoint's words.
        parameter: The parameter it names.
        code: Its code for the error.
    """

    status: int
    message: str
    parameter: str | None = None
    code: str | None = None

    @property
    def about_length(self) -> bool:
        """Whether the prompt was too long."""
        return self.code == "context_length_exceeded" or "context length" in self.message.lower()

    def __str__(self) -> str:
        return f"the endpoint answered {self.status}: {self.message}"


@dataclass(frozen=True, slots=True)
class Transient:
    """A failure that may be over when the call is tried again.

    Attributes:
        reason: For messages.
        retry_after: Seconds to wait at least, by the endpoint's own word.
        busy: Whether fewer calls at once may help.
        refusal: The answer, where it may be one after all: some endpoints say 500 to what they do not take.
    """

    reason: str
    retry_after: float | None = None
    busy: bool = False
    refusal: Refusal | None = None


Fault: TypeAlias = Transient | Refusal | ModelError


def judge_status(status: int, headers: Mapping[str, str], body: Any, key: ApiKey, name: str) -> Fault:
    """Judge an HTTP status of 300 or more.

    Args:
        status: The status.
        headers: The reply's headers, names in any case.
        body: The reply, parsed where it is JSON.
        key: The key in use, to keep it out of messages.
        name: The endpoint, for messages.
    """
    refusal = _refusal(status, body, key)
    if status in (401, 403):
        return ModelError(f"{name} refused the key ({status}): {key.advice}")
    if refusal.code in _NO_CREDIT:
        return ModelError(f"{name}: the account has no credit left: {refusal.message}")
    if 300 <= status < 400:
        return ModelError(f"{name} answers that it has moved ({status}): give the URL that it moved to")
    if status in _TRANSIENT or (status >= 500 and status not in (501, 505)):
        perhaps = refusal if status >= 500 else None
        return Transient(f"{status}: {refusal.message}", retry_after(headers), status in _BUSY, perhaps)
    return refusal


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Read how long the endpoint asks to wait, in seconds: `retry-after-ms`, or Retry-After as number or date."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    return (
        seconds if seconds is not None or value is None else _seconds_until(value, now or datetime.now(UTC))
    )


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
    """Find message, parameter and code, in whichever of the usual forms the error comes."""
    details = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(details, dict):
        return Refusal(status, _words(details, key))
    message = details.get("message", details.get("detail", details))
    parameter, code = details.get("param"), details.get("code")
    return Refusal(
        status,
        _words(message, key),
        parameter if isinstance(parameter, str) else None,
        code if isinstance(code, str) else None,
    )


def _words(message: Any, key: ApiKey) -> str:
    """Put what may be anything on one line, without the key and not too long."""
    try:
        text = " ".join(key.redact(str(message)).encode("utf-8", "replace").decode().split())
    except RecursionError:  # JSON within JSON, thousands deep
        text = ""
    return f"{text[:_LONGEST_MESSAGE]}..." if len(text) > _LONGEST_MESSAGE else text or "no reason given"
