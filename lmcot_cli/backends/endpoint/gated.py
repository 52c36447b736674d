"""Send a call once, when the gate lets it through, and read what comes of it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import inf
from typing import NamedTuple

from lmcot_cli.backends.base import Completion
from lmcot_cli.backends.endpoint.calls import Call, CallReplies
from lmcot_cli.backends.endpoint.client import Client
from lmcot_cli.backends.endpoint.counters import Counters
from lmcot_cli.backends.endpoint.dialect import Body, Dialect
from lmcot_cli.backends.endpoint.faults import AdaptedError, EndpointFaultError, Refusal
from lmcot_cli.backends.endpoint.gate import Gate
from lmcot_cli.backends.endpoint.key import ApiKey
from lmcot_cli.backends.endpoint.options import EndpointOptions
from lmcot_cli.backends.endpoint.reply import Answered, read_reply, without_reply
from lmcot_cli.errors import RowError

_TEMPLATE_TOKENS = 32
"""Tokens that a chat template may add to a prompt; for the limit of tokens per minute."""


class _WrittenCall(NamedTuple):
    """A call as it is sent: below which path, with what body, for how many choices."""

    path: str
    body: Body
    asked: int


class Gated:
    """Sends a call once, when the gate lets it through, and reads what comes of it."""

    def __init__(
        self,
        client: Client,
        gate: Gate,
        dialect: Dialect,
        key: ApiKey,
        options: EndpointOptions,
        counters: Counters,
    ) -> None:
        self._client, self._gate, self._dialect, self._key = client, gate, dialect, key
        self._options, self._counters = options, counters
        self._tokens_per_byte = 0.5

    async def ask(self, call: Call) -> CallReplies:
        """Send a call once; see `AsksCalls.ask`."""
        tokens = partial(self._reckoned_tokens, call)
        if self._options.tpm and call.deadline == inf and tokens() > self._options.tpm:
            raise RowError(
                f"the request may take {tokens()} tokens, more than --tpm {self._options.tpm} allows in a minute"
            )
        async with self._gate.admitted(call.number, tokens) as call.admission:
            self._count(call)
            written = self._write(call)
            try:
                seconds = min(self._options.request_timeout, max(call.deadline - self._gate.clock, 0.001))
                body = await self._client.post(written.path, written.body, seconds)
                answered = read_reply(body, call.request, call.sampling, written.asked)
            except EndpointFaultError as error:
                if self._is_adapted(call, written, error):
                    raise AdaptedError from None
                raise
            call.admission.tokens = answered.usage.total
            return self._learnt(call, written, answered)

    def _count(self, call: Call) -> None:
        self._counters.requests += 1
        self._counters.hedged += call.hedges
        self._counters.retries += call.deadline < inf and not call.hedges
        call.deadline = min(call.deadline, self._gate.clock + self._options.total_timeout)

    def _write(self, call: Call) -> _WrittenCall:
        """Write a call as it would be sent now: for one choice, where the endpoint is known to give no more."""
        asked = 1 if self._dialect.n_honoured is False else len(call.jobs)
        return _WrittenCall(self._dialect.path, self._dialect.body(call.request, call.sampling, asked), asked)

    def _is_adapted(self, call: Call, written: _WrittenCall, error: EndpointFaultError) -> bool:
        """Learn from a refusal; return whether the call would be written differently now."""
        refusal = error.fault if isinstance(error.fault, Refusal) else error.fault.refusal
        if refusal is None:
            return False
        return self._dialect.adapt(refusal, written.body) or (
            not refusal.forbids and self._write(call) != written
        )

    def _learnt(self, call: Call, written: _WrittenCall, answered: Answered) -> CallReplies:
        """Learn from an answer; return its replies as they are handed out, None for each that is to be asked for anew.

        Those are the ones that the endpoint left out, and empty ones to what would be written differently now.
        """
        dialect, replies = self._dialect, answered.replies
        seen = answered.usage.prompt_tokens / max(1, _size(call))
        self._tokens_per_byte = max(1.1 * seen, 0.95 * self._tokens_per_byte)
        dialect.settled = True
        dialect.notice(replies, written.body)
        anew = (dialect.path, dialect.body(call.request, call.sampling, written.asked)) != written[:2]
        if written.asked > 1:
            dialect.n_honoured = len(replies) == written.asked
        elif call.refused_with_n and dialect.n_honoured is None:
            dialect.n_honoured = False  # Its prompt was not to blame, then.
        seeds = ["seed" in written.body] + [False] * len(replies)
        ready = [
            self._ready(reply, anew=anew, seeded=seed) for reply, seed in zip(replies, seeds, strict=False)
        ]
        return CallReplies((*ready, *[None] * (len(call.jobs) - len(ready))), answered.usage)

    def _ready(
        self, reply: Completion | RowError, *, anew: bool, seeded: bool
    ) -> Completion | RowError | None:
        """Return a reply as it is handed out: without the key, which may be whole only now if it came in pieces.

        Args:
            reply: What was read.
            anew: Whether the call would be written differently now, so that an empty reply is asked for anew.
            seeded: Whether it is drawn with the seed of its request.
        """
        if isinstance(reply, RowError):
            return reply
        if anew and not reply.text.strip():
            return None
        text, thought = self._key.redact_reply(reply.text), reply.thought
        if thought and thought.text:
            thought = replace(thought, text=self._key.redact_reply(thought.text))
        return without_reply(reply) or replace(reply, text=text, thought=thought, seeded=seeded)

    def _reckoned_tokens(self, call: Call) -> int:
        """Reckon, rather too high, what a call may take; only a limit of tokens per minute asks for it."""
        if not self._options.tpm:
            return 0
        prompt = int(_size(call) * self._tokens_per_byte) + _TEMPLATE_TOKENS
        return prompt + len(call.jobs) * self._dialect.most_tokens(call.sampling)


def _size(call: Call) -> int:
    return len(call.request.text.encode("utf-8", "replace"))
