"""What can be set about an endpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from lmcot_cli.backends.endpoint.request_fields import parse_fields
from lmcot_cli.errors import UsageError

EndpointApi = Literal["auto", "chat", "completions"]

MOST_REPLY_MIB = 1024
MOST_IN_FLIGHT = 4096
"""A bound against slips of the hand: every call in flight holds a connection, and a process has about as many."""


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """Settings of a model behind an OpenAI-compatible endpoint.

    Attributes:
        endpoint_api: `chat`, `completions` (plain ones: the prompt as it is), or `auto`: chat where the
            endpoint has it for this model.
        max_in_flight: Most calls in flight; how many there are adapts to the endpoint, up to this.
        rpm: Most requests in any 60 seconds, retries included; None for no limit.
        tpm: Most tokens in any 60 seconds, prompts and completions together; None for no limit.
        request_timeout: Seconds one call may take.
        total_timeout: Seconds a request may take with its retries, and that the endpoint may be down.
        max_reply_mib: Most MiB of one reply, decompressed; all that are read at once take at most twice that.
        key_command: Command whose output is the key, run without a shell; None takes OPENAI_API_KEY.
        allow_plain_http_key: Send the key over plain http, readable on the way, to another machine.
        cache: Whether replies are kept; None keeps those of endpoints on other machines, which may cost money.
        reply_cache: File that keeps them; None takes the user's cache folder.
        request_fields: Fields to add to each request, as `NAME=JSON`.

    Raises:
        UsageError: A value out of its range.
    """

    endpoint_api: EndpointApi = "auto"
    max_in_flight: int = 256
    rpm: int | None = None
    tpm: int | None = None
    request_timeout: float = 120.0
    total_timeout: float = 600.0
    max_reply_mib: int = 16
    key_command: str | None = None
    allow_plain_http_key: bool = False
    cache: bool | None = None
    reply_cache: Path | None = None
    request_fields: tuple[str, ...] = ()

    @property
    def fields(self) -> dict[str, Any]:
        """Return the fields to add to each request, with their values."""
        return parse_fields(self.request_fields)

    def to_record(self) -> dict[str, Any]:
        """Return the settings for the run file; the key command, which might hold a key, is not among them."""
        record = asdict(self)
        del record["key_command"]
        kept = {"reply_cache": str(self.reply_cache) if self.reply_cache else None}
        return record | kept | {"request_fields": list(self.request_fields)}

    def __post_init__(self) -> None:
        if self.endpoint_api not in get_args(EndpointApi):
            choices = ", ".join(get_args(EndpointApi))
            raise UsageError(f"--endpoint-api {self.endpoint_api}: choose one of {choices}")
        if not 1 <= self.max_in_flight <= MOST_IN_FLIGHT:
            raise UsageError(f"--max-in-flight {self.max_in_flight}: choose between 1 and {MOST_IN_FLIGHT}")
        if not 1 <= self.max_reply_mib <= MOST_REPLY_MIB:
            raise UsageError(f"--max-reply-mib {self.max_reply_mib}: choose between 1 and {MOST_REPLY_MIB}")
        for option, limit in (("rpm", self.rpm), ("tpm", self.tpm)):
            if limit is not None and limit < 1:
                raise UsageError(f"--{option} {limit}: give 1 or more")
        for option, seconds in (
            ("request-timeout", self.request_timeout),
            ("total-timeout", self.total_timeout),
        ):
            if not 0 < seconds < float("inf"):
                raise UsageError(f"--{option} {seconds:g}: give seconds above 0")
        parse_fields(self.request_fields)
        if self.cache is False and self.reply_cache:
            raise UsageError("--no-cache and --reply-cache exclude each other: leave one of them out")
