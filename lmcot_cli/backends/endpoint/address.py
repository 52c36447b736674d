"""Where an endpoint is: the URL its API starts at, and the model's name there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from urllib.parse import SplitResult, urlsplit

from lmcot_cli.errors import ModelSpecError

SCHEME = "openai:"
DEFAULT_URL = "https://api.openai.com/v1"


@dataclass(frozen=True, slots=True)
class Address:
    """A model behind an endpoint.

    Attributes:
        url: Where the API starts, without a slash at the end; it usually ends in `/v1`.
        model: The model's name there.
    """

    url: str
    model: str

    @property
    def spec(self) -> str:
        """Return the model spec, which names the endpoint also where OPENAI_BASE_URL did."""
        return f"{SCHEME}{self.model}" if self.url == DEFAULT_URL else f"{self.url}#{self.model}"

    @property
    def host(self) -> str:
        """Return the host's name or address."""
        return urlsplit(self.url).hostname or ""

    @property
    def plain(self) -> bool:
        """Whether what is sent can be read on the way."""
        return urlsplit(self.url).scheme == "http"

    @property
    def loopback(self) -> bool:
        """Whether the endpoint is on this machine."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse(spec: str) -> Address:
    """Read `openai:MODEL`, at OPENAI_BASE_URL if that is set, or `http://host:port/v1#MODEL`.

    Raises:
        ModelSpecError: There is no model or no host in it, or a password; the message repeats no URL that may
            hold one.
    """
    if spec.startswith(SCHEME):
        base = os.environ.get("OPENAI_BASE_URL", "").strip() or DEFAULT_URL
        return _checked(base, spec.removeprefix(SCHEME), "OPENAI_BASE_URL")
    url, _, model = spec.partition("#")
    return _checked(url, model, "the model spec")


def _checked(url: str, model: str, source: str) -> Address:
    parts = _split(url, source)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ModelSpecError(
            f"{source} holds a password, a query or a fragment in its URL: write just http(s)://host:port/v1,"
            " and give the key in OPENAI_API_KEY or by --key-command"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or not (url + model).isprintable():
        raise ModelSpecError(f"{source}: {url!r} is no URL of an endpoint; write https://host:port/v1")
    if not model.strip():
        raise ModelSpecError(f"{source} names no model: write openai:MODEL or {url}#MODEL")
    return Address(url.rstrip("/"), model)


def _split(url: str, source: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number
        if parts.netloc.startswith("["):
            IPv6Address(parts.hostname or "")
    except ValueError as error:
        raise ModelSpecError(
            f"{source}: no URL of an endpoint ({error}); write https://host:port/v1"
        ) from error
    return parts
