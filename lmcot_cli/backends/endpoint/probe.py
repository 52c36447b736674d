"""Ask an endpoint, before any row is read, whether it is there, takes the key and has the model."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from difflib import get_close_matches
from random import Random
from urllib.parse import urlsplit

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.endpoint.address import Address
from lmcot_cli.backends.endpoint.backoff import backoff
from lmcot_cli.backends.endpoint.client import Client, FaultError, UnreachableError
from lmcot_cli.backends.endpoint.faults import Fault, Refusal, Transient
from lmcot_cli.backends.endpoint.reply import read_models
from lmcot_cli.errors import ModelError, RowError

Ask = Callable[[Request, Sampling], Awaitable[Completion | RowError]]

REQUEST = Request("Say yes.", seed=0)
SAMPLING = Sampling(max_tokens=16)
"""Enough for models that refuse to stop at once, and next to nothing."""

_TRIES = 5
_SECONDS = 10.0
_MOST_NAMES = 5


async def probe(address: Address, client: Client, count: Callable[[], None], ask: Ask) -> None:
    """Fetch the list of models, and ask the model for a few words.

    Own servers (plain http) often answer whatever model is named, so there the list has the last word. Elsewhere
    it is the answer that has: some providers list only a part.

    Args:
        address: The endpoint and the model.
        client: Fetches the list.
        count: Called before each try to fetch it.
        ask: Asks the model, with all retries.

    Raises:
        ModelError: In one line, what is wrong and what to type.
    """
    models = await _models(address, client, count)
    if models and address.model not in models and address.plain:
        raise ModelError(_unknown(address, models))
    reply = await ask(REQUEST, SAMPLING)
    if isinstance(reply, RowError):
        advice = _advice(address, models)
        raise ModelError(
            f"{address.url} does not answer a test request to {address.model!r}: {reply}{advice}"
        )


def _advice(address: Address, models: list[str] | None) -> str:
    if models and address.model not in models:
        return f"; {_unknown(address, models)}"
    return "" if urlsplit(address.url).path else "; the address of an API usually ends in /v1"


async def _models(address: Address, client: Client, count: Callable[[], None]) -> list[str] | None:
    """Return the names of the endpoint's models; None if it has no such list."""
    reason = ""
    for failures in range(1, _TRIES + 1):
        count()
        try:
            return read_models(await client.get("/models", _SECONDS))
        except UnreachableError as error:
            raise ModelError(
                f"nothing answers at {address.url} ({error}): is the server running, and the address right?"
            ) from None
        except FaultError as error:
            fault = _worth_another(error.fault)
        if fault is None:
            return None
        reason = fault.reason
        await asyncio.sleep(backoff(failures, min(fault.retry_after or 0.0, _SECONDS), Random()))
    raise ModelError(f"{address.url} fails to list its models, {_TRIES} times, at last with {reason}")


def _worth_another(fault: Fault) -> Transient | None:
    """Return a fault that may pass; None for an endpoint that has no list of models.

    Raises:
        ModelError: The fault is one, such as a refused key.
    """
    if isinstance(fault, ModelError):
        raise fault from None
    return None if isinstance(fault, Refusal) else fault


def _unknown(address: Address, models: list[str]) -> str:
    near = get_close_matches(address.model, models, n=_MOST_NAMES, cutoff=0.4)
    shown = near or sorted(models)[:_MOST_NAMES]
    more = f", and {len(models) - len(shown):,} more" if not near and len(models) > len(shown) else ""
    names = ", ".join(repr(name[:100]) for name in shown)
    return f"{address.url} lists no model {address.model!r}; {'near ones are' if near else 'it has'} {names}{more}"
