"""Read where an endpoint is: the URL at which its API starts, and the name of the model there."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from lmcot_cli.backends.naming import NamedBy
from lmcot_cli.errors import ModelSpecError

SCHEME = "openai:"
DEFAULT_URL = "https://api.openai.com/v1"

Api = Literal["chat", "completions"]

PATHS: Mapping[Api, str] = {"chat": "/chat/completions", "completions": "/completions"}
"""Paths of the APIs, below the endpoint's URL."""

_OTHER_APIS = ("/responses", "/messages", "/embeddings", "/api/chat", "/api/generate")
_VERSION = "api-version"
"""What Azure expects in the query; anything else there may be a secret."""

_HOST = re.compile(r"[\w.-]+|[0-9a-f:.]+(%[\w.-]+)?", re.ASCII)
_DEPLOYMENT = re.compile(r"/openai/deployments/([^/]+)$")


@dataclass(frozen=True, slots=True)
class Address:
    """A model behind an endpoint.

    Attributes:
        url: Where the API starts, without a slash at the end; it usually ends in `/v1`.
        model: The model's name there.
        api: The API that the user's URL ended in; None where it did not say.
        version: Azure's `api-version`; empty elsewhere.
        named_by: Who named it.
    """

    url: str
    model: str
    api: Api | None = None
    version: str = ""
    named_by: NamedBy = field(default=NamedBy.COMMAND_LINE, compare=False)

    @property
    def spec(self) -> str:
        """Return the model spec; it names the endpoint even if OPENAI_BASE_URL did."""
        if self == Address(DEFAULT_URL, self.model):
            return f"{SCHEME}{self.model}"
        path = PATHS[self.api] if self.api else ""
        query = f"?{_VERSION}={self.version}" if self.version else ""
        return f"{self.url}{path}{query}#{self.model}"

    @property
    def host(self) -> str:
        """Return the host's name or address."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """Return the port, by default that of the scheme."""
        return urlsplit(self.url).port or (80 if self.plain else 443)

    @property
    def place(self) -> str:
        """Return host and port as they stand in the URL."""
        return urlsplit(self.url).netloc

    @property
    def of_openai(self) -> bool:
        """Whether it is on OpenAI's host, or on that of OPENAI_BASE_URL."""
        hosts = (urlsplit(url).netloc.lower() for url in (DEFAULT_URL, _base_url()))
        return self.place.lower() in hosts

    @property
    def azure(self) -> bool:
        """Whether the key belongs in the header `api-key`, as on Azure."""
        return bool(self.version) or self.host.endswith(".azure.com")

    @property
    def plain(self) -> bool:
        """Whether others can read on the way what is sent."""
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


def parse(spec: str, named_by: NamedBy = NamedBy.COMMAND_LINE) -> Address:
    """Read `openai:MODEL`, at OPENAI_BASE_URL if that is set, or `http://host:port/v1#MODEL`.

    The URL may name a route of the API, as in `/v1/chat/completions`, and Azure's `?api-version=`; the model of an
    Azure deployment is the deployment, unless another is named.

    Raises:
        ModelSpecError: There is no model or no host in it, or a password; the message repeats no URL that may
            hold one.
    """
    if spec.startswith(SCHEME):
        return _checked(_base_url(), spec.removeprefix(SCHEME), "OPENAI_BASE_URL", named_by)
    url, _, model = spec.partition("#")
    return _checked(url, model, "the model spec", named_by)


def _base_url() -> str:
    return os.environ.get("OPENAI_BASE_URL", "").strip() or DEFAULT_URL


def _checked(url: str, model: str, source: str, named_by: NamedBy) -> Address:
    parts = _split(url, source)
    version = _version(parts)
    if "@" in parts.netloc or version is None or parts.fragment:
        raise ModelSpecError(
            f"{source} holds a password, a query or a fragment in its URL: write just http(s)://host:port/v1"
            " (Azure's ?api-version=VERSION may follow), and give the key in OPENAI_API_KEY or by --key-command"
        )
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host) or not (url + model).isprintable():
        raise ModelSpecError(f"{source}: {url!r} is no URL of an endpoint; write https://host:port/v1")
    base, api = _without_route(url.partition("?")[0].rstrip("/"), source)
    deployment = _DEPLOYMENT.search(base)
    model = model if model.strip() or not deployment else unquote(deployment[1])
    if not model.strip():
        raise ModelSpecError(f"{source} names no model: write openai:MODEL or {url}#MODEL")
    return Address(base, model, api, version, named_by)


def _version(parts: SplitResult) -> str | None:
    """Return Azure's version from a query, empty if there is none; None if the query says more."""
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    if not pairs:
        return None if parts.query else ""
    (name, value), *more = pairs
    fits = name == _VERSION and not more and re.fullmatch(r"[\w.-]{1,40}", value, re.ASCII)
    return value if fits else None


def _without_route(url: str, source: str) -> tuple[str, Api | None]:
    """Return a URL without the route of a call, and the API of that route.

    Raises:
        ModelSpecError: It is a route of an API that is not supported.
    """
    for api, path in PATHS.items():
        if url.endswith(path):
            return url.removesuffix(path).rstrip("/"), api
    other = next((path for path in _OTHER_APIS if url.endswith(path)), None)
    if other:
        start = url.removesuffix(other)
        raise ModelSpecError(
            f"{source}: {other} is another API than OpenAI's chat and completions; give the URL that those start at,"
            f" such as {start if start.endswith('/v1') else start + '/v1'}"
        )
    return url, None


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
