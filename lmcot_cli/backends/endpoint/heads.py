"""Read the heads of replies in small pieces, and no more than a head may have.

The library reads 64 KiB at once and works through all of it before any other call gets a turn. With many calls in
flight, an endpoint that sends headers or `100 Continue` without end would keep it so busy that no time-out fires. The
library has no setting for that, but shows its connections to a trace.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmcot_cli.backends.endpoint.bodies import BodyError

MOST_BYTES = 32 * 1024
_AT_ONCE = 4096


class _Reads:
    """The reads from one connection: small ones until the head is there, and `MOST_BYTES` in all of them."""

    def __init__(self, stream: Any) -> None:
        self._read = stream.read
        self._left: int | None = MOST_BYTES

    async def __call__(self, most: int, timeout: float | None = None) -> bytes:
        if self._left is None:
            return bytes(await self._read(most, timeout))
        if self._left <= 0:
            raise BodyError(f"the head of the reply is of more than {MOST_BYTES // 1024} KiB")
        content = bytes(await self._read(min(most, _AT_ONCE), timeout))
        self._left -= len(content)
        return content

    def expect(self, *, head: bool) -> None:
        """Prepare to read a head, or a body."""
        self._left = MOST_BYTES if head else None


class Watch:
    """A trace of one call, which sees the connection that is made for it, if one is made."""

    def __init__(self) -> None:
        self._stream: Any = None

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        """Take over the reads from a new connection; close one whose handshake failed, since nobody else does."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._stream = info["return_value"]
            self._stream.read = _Reads(self._stream)
        elif event.endswith("start_tls.failed") and self._stream is not None:
            await self._stream.aclose()


def expect(response: Any, *, head: bool) -> None:
    """Prepare the connection of a reply to read a head, or a body."""
    reads = getattr(response.extensions.get("network_stream"), "read", None)
    if isinstance(reads, _Reads):
        reads.expect(head=head)
