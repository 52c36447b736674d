"""What can be set about an endpoint."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from lmcot_cli.backends.endpoint.request_fields import parse_fields
from lmcot_cli.settings.declaration import COUNT, POSITIVE, Rule, check, plain, recorded, setting

EndpointApi = Literal["auto", "chat", "completions"]

MOST_REPLY_MIB = 1024
MOST_IN_FLIGHT = 4096
"""A bound against slips of the hand: every call in flight holds a connection, and a process has about as many."""


_PANEL = "Endpoint"


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """Settings of a model behind an OpenAI-compatible endpoint.

    Raises:
        UsageError: A value out of its range.
    """

    endpoint_api: EndpointApi = setting(
        "auto",
        "chat; completions: plain ones, for base models; auto: chat if the endpoint has it for the model.",
        metavar="API",
        changes_answers=True,  # a chat template does
        panel=_PANEL,
    )
    max_in_flight: int = setting(
        256,
        "Maximum calls in flight; their number adapts to the endpoint.",
        metavar="N",
        rule=Rule(least=1, most=MOST_IN_FLIGHT),
        panel=_PANEL,
    )
    rpm: int | None = setting(
        None,
        "Maximum requests in any 60 seconds, retries included.",
        metavar="N",
        shown="no limit",
        rule=COUNT,
        panel=_PANEL,
    )
    tpm: int | None = setting(
        None,
        "Maximum tokens in any 60 seconds, prompts and completions together.",
        metavar="N",
        shown="no limit",
        rule=COUNT,
        panel=_PANEL,
    )
    request_timeout: float = setting(
        120.0, "Seconds one call may take.", metavar="SECONDS", rule=POSITIVE, panel=_PANEL
    )
    total_timeout: float = setting(
        600.0,
        "Seconds a request may take with its retries, and the endpoint may be down.",
        metavar="SECONDS",
        rule=POSITIVE,
        panel=_PANEL,
    )
    max_reply_mib: int = setting(
        16,
        "Largest reply that is read, decompressed; all that are read at once take at most twice that.",
        metavar="MIB",
        rule=Rule(least=1, most=MOST_REPLY_MIB),
        panel=_PANEL,
    )
    key_command: str | None = setting(
        None,
        "Command that prints the key; run without a shell.",
        metavar="CMD",
        shown="the key in OPENAI_API_KEY",
        in_file=None,
        panel=_PANEL,
    )
    allow_plain_http_key: bool = setting(
        False,
        "Send the key over plain http to another machine, too, though it can be read on the way.",
        in_file=None,
        panel=_PANEL,
    )
    cache: bool | None = setting(
        None,
        "Keep replies, so that none is paid for twice.",
        flag="--cache/--no-cache",
        shown="on for other machines",
        panel=_PANEL,
    )
    reply_cache: Path | None = setting(
        None,
        "File that keeps replies.",
        metavar="FILE",
        shown="in the user's cache folder",
        panel=_PANEL,
    )
    request_fields: tuple[str, ...] = setting(
        (),
        "Field to add to each request to an endpoint; give it again for several.",
        flag="--request-field",
        metavar="NAME=JSON",
        changes_answers=True,
        panel=_PANEL,
    )

    @property
    def fields(self) -> dict[str, Any]:
        """Return the fields to add to each request, with their values."""
        return parse_fields(self.request_fields)

    def to_record(self) -> dict[str, Any]:
        """Return the settings that change no answers, for the run file; what might hold a key is not among them."""
        elsewhere = {"key_command", *recorded(self)}
        return {one.name: plain(getattr(self, one.name)) for one in fields(self) if one.name not in elsewhere}

    def __post_init__(self) -> None:
        wrong = []
        if self.cache is False and self.reply_cache:
            wrong.append("--no-cache and --reply-cache exclude each other: leave one of them out")
        check(self, *wrong)
        parse_fields(self.request_fields)
