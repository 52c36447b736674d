"""Send one call to an endpoint, through the `openai` client."""

from __future__ import annotations

import asyncio
import os
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ssl import SSLError
from typing import TYPE_CHECKING, Any

from lmcot_cli.backends.endpoint import heads
from lmcot_cli.backends.endpoint.address import Address
from lmcot_cli.backends.endpoint.bodies import ENCODING, Bodies, BodyError
from lmcot_cli.backends.endpoint.dialect import Body
from lmcot_cli.backends.endpoint.faults import (
    Fault,
    Refusal,
    Transient,
    judge_body,
    judge_status,
    on_one_line,
)
from lmcot_cli.backends.endpoint.key import ApiKey
from lmcot_cli.backends.endpoint.options import EndpointOptions
from lmcot_cli.backends.endpoint.stream import joined
from lmcot_cli.errors import ModelError

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI
    from openai._types import RequestOptions

_CONNECT_SECONDS = 10.0
_WAITS = ("retry-after", "retry-after-ms")
_SENT_VARIABLES = ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID")
_NO_KEY = "none"
"""The client insists on a key of its own; each call brings the true one, or none, and this is never sent."""


class EndpointFaultError(Exception):
    """A call that brought no reply; `fault` says what to make of that."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


class UnreachableError(Exception):
    """No connection to the endpoint could be made; the message says why."""


class Client:
    """One endpoint and its connections. Made and used in one event loop.

    TLS certificates are verified, proxies taken from the environment (except to this machine over plain http), and
    redirections not followed: they would take questions, and maybe the key, to places that nobody named. Cookies are
    not kept. Bodies are read within limits (`bodies.py`), and no call takes longer than it may, however slowly or
    steadily its reply drips: then its connection is closed.

    Raises:
        ModelError: The environment holds something that no client can be made with.
    """

    def __init__(self, address: Address, key: ApiKey, options: EndpointOptions) -> None:
        self._address, self._key = address, key
        try:
            self._openai = _new_client(address, options)
        except (
            OSError,
            ValueError,
        ) as error:  # a file of certificates that is not there, a header no header can hold
            raise ModelError(
                f"{address.url}: no client can be made ({error}): look at SSL_CERT_FILE, SSL_CERT_DIR, proxies and"
                " OPENAI_* in the environment"
            ) from error

    async def post(self, path: str, body: Body, timeout: float) -> bytes:
        """Send a call, and return the body of its reply, put together where it came in pieces.

        Args:
            path: Below the endpoint's URL.
            body: The call.
            timeout: Seconds it may take all in all.

        Raises:
            FaultError: It brought no reply.
            UnreachableError: There is no connection.
        """
        sending = self._openai.post(path, body=body, cast_to=bytes, options=self._headers())
        reply = joined(await self._send(sending, timeout))
        if fault := judge_body(reply, self._key, self._address.url):
            raise EndpointFaultError(fault)
        return reply

    async def get(self, path: str, timeout: float) -> bytes:
        """Fetch a page; see `post`."""
        return await self._send(self._openai.get(path, cast_to=bytes, options=self._headers()), timeout)

    async def close(self) -> None:
        """Close the connections."""
        await self._openai.close()

    def _headers(self) -> RequestOptions:
        from openai import Omit

        key = self._key.reveal()
        if key and self._address.azure and not _is_token(key):
            return {"headers": {"Authorization": Omit(), "api-key": key}}
        return {"headers": {"Authorization": f"Bearer {key}" if key else Omit()}}

    async def _send(self, sending: Any, timeout: float) -> bytes:
        from openai import APIConnectionError, APIStatusError, APITimeoutError

        try:
            async with asyncio.timeout(timeout):
                reply = await sending
        except (TimeoutError, APITimeoutError):
            raise EndpointFaultError(
                Transient(f"no reply within {timeout:.3g} s", busy=True, late=True)
            ) from None
        except APIStatusError as error:
            raise EndpointFaultError(self._judge(error)) from None
        except (APIConnectionError, BodyError) as error:
            raise self._failure(error) from None
        assert isinstance(reply, bytes)
        return self._key.redact_bytes(reply)

    def _failure(self, error: BaseException) -> EndpointFaultError | UnreachableError:
        """Say why a call brought no reply, or none that is read."""
        limit = next((cause for cause in _causes(error) if isinstance(cause, BodyError)), None)
        if limit:
            reason = on_one_line(str(limit), self._key)
            return EndpointFaultError(Refusal(200, reason) if limit.final else Transient(reason))
        reason = _reason(error, self._key)
        return UnreachableError(reason) if _never_connected(error) else EndpointFaultError(Transient(reason))

    def _judge(self, error: APIStatusError) -> Fault:
        name = self._address.url
        return judge_status(error.status_code, error.response.headers, error.body, self._key, name)


def _withheld(address: Address) -> dict[str, Any]:
    """Keep what the environment says for OpenAI (organization, project, headers of one's own) from other hosts."""
    from openai import Omit

    lines = os.environ.get("OPENAI_CUSTOM_HEADERS", "").split("\n")
    own = [line.partition(":")[0].strip() for line in lines if ":" in line]
    names = () if address.of_openai else ("OpenAI-Organization", "OpenAI-Project", *own)
    return {name: Omit() for name in names}


def _new_client(address: Address, options: EndpointOptions) -> AsyncOpenAI:
    import openai

    class Limited(openai.DefaultAsyncHttpxClient):
        """Reads a body as it comes, and nothing of it that goes beyond the limits."""

        async def send(self, request: Any, **how: Any) -> Any:
            request.extensions["trace"] = heads.Watch()
            response = await super().send(request, **{**how, "stream": True})
            heads.expect(response, head=False)
            try:
                body = await bodies.read(response)
            finally:
                heads.expect(response, head=True)
                await response.aclose()
            waits = {name: response.headers[name] for name in _WAITS if name in response.headers}
            return type(response)(response.status_code, headers=waits, content=body, request=request)

    for name in _SENT_VARIABLES:
        if not os.environ.get(name, "").isascii() or not os.environ.get(name, "").isprintable():
            raise ValueError(f"{name} cannot be sent")
    # The type under a public name: openai has changed the library it connects with once already.
    most = options.max_in_flight
    limits = type(openai.DEFAULT_CONNECTION_LIMITS)(max_connections=most, max_keepalive_connections=most)
    bodies = Bodies(options.max_reply_mib * 2**20)
    return openai.AsyncOpenAI(
        api_key=_NO_KEY,
        base_url=address.url,
        default_query={"api-version": address.version} if address.version else None,
        default_headers=_withheld(address),
        max_retries=0,
        timeout=openai.Timeout(None, connect=_CONNECT_SECONDS),
        http_client=Limited(
            headers={"Accept-Encoding": ENCODING},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            limits=limits,
            timeout=openai.Timeout(None, connect=_CONNECT_SECONDS),
            follow_redirects=False,
            trust_env=not (address.plain and address.loopback),
        ),
    )


def _is_token(key: str) -> bool:
    """Whether a key is a token of a login (JWT), which Azure wants as such."""
    return key.startswith("eyJ") and key.count(".") == 2


def _causes(error: BaseException) -> list[BaseException]:
    """List an error and what led to it."""
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in found:
        found.append(cause)
        cause = cause.__cause__ or cause.__context__
    return found


def _never_connected(error: BaseException) -> bool:
    """Whether there was no connection at all: by name, for openai has changed the library it connects with."""
    return any(
        type(cause).__name__ in ("ConnectError", "ConnectTimeout", "ProxyError") for cause in _causes(error)
    )


def _reason(error: BaseException, key: ApiKey) -> str:
    """Say in a few words why there is no connection, or no more."""
    for cause in reversed(_causes(error)):
        if isinstance(cause, SSLError):
            return getattr(cause, "verify_message", None) or cause.reason or "TLS fails"
        if isinstance(cause, OSError) and cause.errno:
            words = os.strerror(cause.errno) if cause.errno > 0 else cause.strerror
            return (words or type(cause).__name__).lower()
    texts = [str(cause) for cause in _causes(error)[1:] if str(cause)]
    return on_one_line(texts[0], key) if texts else "the connection was lost"
