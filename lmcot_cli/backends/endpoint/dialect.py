"""What a call says to this endpoint. Endpoints differ in what they take, and say so by refusing it."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lmcot_cli.backends.base import Request, Sampling
from lmcot_cli.backends.endpoint.address import Address
from lmcot_cli.backends.endpoint.faults import Refusal
from lmcot_cli.backends.endpoint.options import EndpointApi

Api = Literal["chat", "completions"]
Body = dict[str, Any]

PATHS: Mapping[Api, str] = {"chat": "/chat/completions", "completions": "/completions"}

_OPTIONAL = ("logprobs", "repeat_penalty", "seed", "stop", "temperature", "top_p")
_LOST = {
    "seed": "samples cannot be drawn again alike",
    "temperature": "it samples at its own, --temperature plays no part",
    "top_p": "--top-p plays no part",
}
"""What the user is told of a parameter that an endpoint does not take; the others are made up for."""

_NOT_TAKEN = re.compile(
    r"not support|unsupported|unknown|unrecogni[sz]ed|unexpected|not permitted|not allowed|not available",
    re.I,
)
_NO_ROUTE = (404, 405, 501)

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Dialect:
    """How the endpoint is spoken to, as far as it is known.

    Attributes:
        address: The endpoint and the model.
        api: The API in use.
        settled: Whether the endpoint is known to have that API for the model, or the user has chosen it.
        n_honoured: Whether one call may ask for several choices; None before that was tried.
    """

    address: Address
    api: Api
    settled: bool
    n_honoured: bool | None = None
    _max_tokens: str = "max_tokens"
    _refused: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, address: Address, api: EndpointApi) -> Dialect:
        """Begin with what the user chose."""
        return cls(address, "chat" if api == "auto" else api, settled=api != "auto")

    @property
    def path(self) -> str:
        """Return the path that calls go to."""
        return PATHS[self.api]

    def body(self, request: Request, sampling: Sampling, n: int = 1) -> Body:
        """Write the body of a call for `n` choices."""
        whole = full_body(self.api, self.address, request, sampling)
        body = {name: value for name, value in whole.items() if name not in self._refused}
        if self._max_tokens != "max_tokens":
            body[self._max_tokens] = body.pop("max_tokens")
        return body | {"n": n} if n > 1 else body

    def adapt(self, refusal: Refusal, body: Body) -> bool:
        """Learn from a refused call; return whether one that is written anew may be taken."""
        if refusal.about_length:
            return False
        if "n" in body and refusal.status < 500 and _names_n(refusal):
            self.n_honoured = False
            return True
        if "messages" in body and (self.api != "chat" or (not self.settled and _no_chat(refusal))):
            self.api, self.settled = "completions", True
            return True
        if "max_tokens" in body and "max_completion_tokens" in refusal.message:
            self._max_tokens = "max_completion_tokens"
            return True
        return self._without_refused(refusal, body)

    def _without_refused(self, refusal: Refusal, body: Body) -> bool:
        if not _NOT_TAKEN.search(refusal.message):
            return False
        names = [name for name in _OPTIONAL if name in body and _named(name, refusal)]
        for name in names:
            if name not in self._refused and name in _LOST:
                _log.warning("%s takes no %s: %s", self.address.spec, name, _LOST[name])
            self._refused.add(name)
        return bool(names)


def full_body(api: Api, address: Address, request: Request, sampling: Sampling) -> Body:
    """Write the body of a call for one choice, with everything that we would say.

    Own servers (plain http) are asked not to penalise repetition, which is outside OpenAI's API: llama_cpp.server
    does it by default, and the model then no longer chooses what it would choose.
    """
    body: Body = {
        "model": address.model,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "seed": request.seed,
    }
    if api == "chat":
        body |= {"messages": [{"role": "user", "content": request.prompt}], "logprobs": True}
    else:
        body |= {"prompt": request.prompt, "logprobs": 1}
    if address.plain:
        body["repeat_penalty"] = 1.0
    if sampling.temperature > 0 and sampling.top_p < 1:
        body["top_p"] = sampling.top_p
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    return body


def canonical(body: Body) -> str:
    """Write a body so that equal ones are equal strings."""
    return json.dumps(body, sort_keys=True, ensure_ascii=True, separators=(",", ":"))


def _no_chat(refusal: Refusal) -> bool:
    return refusal.status in _NO_ROUTE or "chat template" in refusal.message.lower()


def _names_n(refusal: Refusal) -> bool:
    """Whether a refusal speaks of the parameter `n`; other things have an n in their names, or end a line with one."""
    return refusal.parameter == "n" or bool(re.search(r"(?<![\w\\-])n(?![\w-])", refusal.message))


def _named(parameter: str, refusal: Refusal) -> bool:
    return parameter == refusal.parameter or bool(re.search(rf"\b{parameter}\b", refusal.message))
