"""Calls answered by 403: is it the key that is refused, or what one prompt says?"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from lmcot_cli.backends.base import Request, Sampling
from lmcot_cli.backends.endpoint.breaker import FAILURES
from lmcot_cli.backends.endpoint.calls import AsksCalls, Call, CallReplies, EndpointJob
from lmcot_cli.backends.endpoint.faults import EndpointFaultError, Refusal, refused_key
from lmcot_cli.backends.endpoint.key import ApiKey
from lmcot_cli.errors import RowError

_HARMLESS = EndpointJob(Request("Say yes.", seed=0), Sampling(max_tokens=16, thinking="auto"))
"""What no filter objects to; enough tokens for models that refuse to stop at once, and next to nothing."""


class Doubting:
    """Tells a refused key from a forbidden prompt.

    The key is good once a call was answered; then a 403 is about its own prompt. Before that, or after many of them in
    a row, harmless words are asked for, and calls that were forbidden meanwhile wait for what comes of it.
    """

    def __init__(self, inner: AsksCalls, key: ApiKey, url: str) -> None:
        self._inner, self._key, self._url = inner, key, url
        self._trial = asyncio.Lock()
        self._is_good, self._in_a_row = False, 0

    async def ask(self, call: Call) -> CallReplies:
        """Return the answer to a call; see `AsksCalls.ask`."""
        try:
            answered = await self._inner.ask(call)
        except EndpointFaultError as error:
            if isinstance(error.fault, Refusal) and error.fault.forbids:
                await self._try_key(call)
            raise
        self._is_good, self._in_a_row = True, 0
        return answered

    async def _try_key(self, forbidden: Call) -> None:
        """Make sure that the key is good, if that is in doubt.

        Raises:
            ModelError: It is refused.
        """
        self._in_a_row += 1
        if self._in_a_row >= FAILURES:
            self._is_good = False
        async with self._trial:
            if self._is_good:
                return
            try:
                with suppress(RowError):
                    await self._inner.ask(Call([_HARMLESS], forbidden.number))
            except EndpointFaultError as error:
                if isinstance(error.fault, Refusal) and error.fault.forbids:
                    raise refused_key(error.fault, self._key, self._url) from None
            self._is_good, self._in_a_row = True, 0
