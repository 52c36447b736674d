"""Ask an endpoint, before any row is read, whether it is there, takes the key and has the model."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from random import Random
from urllib.parse import urlsplit

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.endpoint.address import Address
from lmcot_cli.backends.endpoint.backoff import backoff
from lmcot_cli.backends.endpoint.calls import EndpointJob
from lmcot_cli.backends.endpoint.client import Client
from lmcot_cli.backends.endpoint.dialect import Dialect
from lmcot_cli.backends.endpoint.faults import EndpointFaultError, Refusal, UnreachableError
from lmcot_cli.backends.endpoint.options import EndpointOptions
from lmcot_cli.backends.endpoint.reply import read_models
from lmcot_cli.errors import ModelError, RowError

QUESTION = Request(
    "Answer the question from the context.\n\nContext:\n"
    "Valsen Press: Valsen Press is based in West Falmouth. It was founded in 1938.\n"
    "Wensen Foods: Wensen Foods was founded in 1933. It was founded by Dorte Torick.\n"
    "Barmont Media: Barmont Media is based in Old Falmouth. Barmont Media opened for business in 1916.\n\n"
    "Question: Where is Valsen Press based?\nGive only the answer, in a few words.\nAnswer:",
    seed=0,
)
"""A question as those that follow; any LM finds the answer, unless a template is around it that is not its own."""
ANSWER = "West Falmouth"

SAMPLING = Sampling(max_tokens=32, thinking="auto")
"""Enough for an answer in a sentence, and next to nothing."""
LONG_SAMPLING = replace(SAMPLING, max_tokens=512)
"""Enough for a thought about it."""
PLAIN_SAMPLING = replace(SAMPLING, stop=("\n",))
"""For plain completions, which do not end by themselves."""

_SERVERS = {"llamacpp", "me", "vllm", "sglang"}
"""What llama-server, llama_cpp.server, vLLM and SGLang call the owner of their models; they have both routes."""

_CALLS = 3
_PACED_SECONDS = 180.0
_TRIES = 5
_SECONDS = 10.0
_MOST_NAMES = 5
_COMPARED = 10_000
_LONGEST_NAME = 200
"""Of a list of models: names that are compared with the wanted one, and characters of one of them."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Probe:
    """Fetches the list of models, and asks the model a question.

    Own servers (plain http) often answer whatever model is named, so there the list has the last word. Elsewhere
    it is the answer that has: some providers list only a part.

    It takes no longer than three calls may, nor than a request may with its retries; the pauses that limits of rates
    ask for come on top. A list that does not come in the time of one call, or is more than can be read, is no list.

    Args:
        address: The endpoint and the model.
        options: Its settings, of which the time-outs count.
        client: Fetches the list.
        dialect: How the endpoint is spoken to; learns from what comes.
        count: Called before each try to fetch the list.
        ask: Asks the model.
    """

    address: Address
    options: EndpointOptions
    client: Client
    dialect: Dialect
    count: Callable[[], None]
    ask: Callable[[EndpointJob], Awaitable[Completion | RowError]]

    async def run(self) -> None:
        """Find out whether the endpoint answers, and by which API.

        Raises:
            ModelError: In one line, what is wrong and what to type.
        """
        try:
            async with asyncio.timeout(self.seconds):
                await self._find_out()
        except TimeoutError:
            raise ModelError(
                f"{self.address.url} does not answer a test request to {self.address.model!r}: no reply within"
                f" {self.seconds:.3g} s, all tries together; --request-timeout and --total-timeout allow more"
            ) from None

    @property
    def seconds(self) -> float:
        """Return how long it may take all in all."""
        options = self.options
        paced = _PACED_SECONDS if options.rpm or options.tpm else 0.0
        return min(_CALLS * options.request_timeout, options.total_timeout) + paced

    async def _find_out(self) -> None:
        models, owners = read_models(await self._list_models())
        if models and self.address.model not in models and self.address.plain:
            raise ModelError(_unknown(self.address, models))
        open_choice = not self.dialect.settled
        reply = await self._asked(models)
        cut = reply.finish_reason == "length" and reply.thought is None
        if self.dialect.api == "chat" and cut:  # it may be a thought without a mark at its beginning
            longer = await self.ask(EndpointJob(QUESTION, LONG_SAMPLING, once=True))
            reply = longer if isinstance(longer, Completion) else reply
        # Elsewhere the other route is tried only where there is nothing to lose: it may not be there, or cost.
        lost = not _answers(reply) if owners & _SERVERS else _is_lost(reply)
        if open_choice and self.dialect.api == "chat" and lost and not self.dialect.thinks:
            await self._try_completions()

    async def _list_models(self) -> bytes:
        """Return the list of the endpoint's models; nothing if it has none, or none that comes in time.

        Raises:
            ModelError: Nothing answers, or the key is refused, or the endpoint fails again and again.
        """
        seconds, reason = min(_SECONDS, self.options.request_timeout, self.seconds / _CALLS), ""
        for failures in range(1, _TRIES + 1):
            self.count()
            try:
                return await self.client.get("/models", seconds)
            except UnreachableError as error:
                raise ModelError(
                    f"nothing answers at {self.address.url} ({error}): is the server running, and the address right?"
                ) from None
            except EndpointFaultError as error:
                fault = error.fault
            if isinstance(fault, Refusal) or fault.late:
                return b""
            reason = fault.reason
            await asyncio.sleep(backoff(failures, min(fault.retry_after or 0.0, _SECONDS), Random()))
        raise ModelError(
            f"{self.address.url} fails to list its models, {_TRIES} times, at last with {reason}"
        )

    async def _asked(self, models: list[str] | None) -> Completion:
        sampling = SAMPLING if self.dialect.api == "chat" else PLAIN_SAMPLING
        reply = await self.ask(EndpointJob(QUESTION, sampling))
        if isinstance(reply, RowError):
            advice = _advice(self.address, models)
            raise ModelError(
                f"{self.address.url} does not answer a test request to {self.address.model!r}: {reply}{advice}"
            )
        return reply

    async def _try_completions(self) -> None:
        """Turn to plain completions if they answer the question, which chat has not.

        The chat route may be there for any model, with a template that is somebody's default and not the model's. One
        try is enough: what the route does not bring at once it does not bring.
        """
        self.dialect.api = "completions"
        reply = await self.ask(EndpointJob(QUESTION, PLAIN_SAMPLING, once=True))
        if isinstance(reply, Completion) and _answers(reply):
            _log.warning(
                "%s answers a test question by plain completions and not by chat, whose template seems not to be the"
                " model's own: it is asked by plain completions (--endpoint-api chat to have it otherwise)",
                self.address.spec,
            )
        else:
            self.dialect.api = "chat"


def _answers(reply: Completion) -> bool:
    return ANSWER.lower() in " ".join(reply.text.lower().split())


def _is_lost(reply: Completion) -> bool:
    """Whether a reply is none: empty, or words without end."""
    return not _answers(reply) and (not reply.text.strip() or reply.finish_reason == "length")


def _advice(address: Address, models: list[str] | None) -> str:
    if models and address.model not in models:
        return f"; {_unknown(address, models)}"
    return "" if urlsplit(address.url).path else "; the address of an API usually ends in /v1"


def _unknown(address: Address, models: list[str]) -> str:
    compared = [name for name in models[:_COMPARED] if len(name) <= _LONGEST_NAME]
    near = get_close_matches(address.model, compared, n=_MOST_NAMES, cutoff=0.4)
    shown = near or sorted(models)[:_MOST_NAMES]
    more = f", and {len(models) - len(shown):,} more" if not near and len(models) > len(shown) else ""
    names = ", ".join(repr(name[:100]) for name in shown)
    return f"{address.url} lists no model {address.model!r}; {'near ones are' if near else 'it has'} {names}{more}"
