"""Write calls as this endpoint takes them. Endpoints differ in that, and say so by refusing a call."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.constraint import Constraint
from lmcot_cli.backends.endpoint import effort, guidance, refusals
from lmcot_cli.backends.endpoint.address import PATHS, Address, Api
from lmcot_cli.backends.endpoint.faults import Refusal
from lmcot_cli.backends.endpoint.options import EndpointApi
from lmcot_cli.errors import RowError

Body = dict[str, Any]

_OPTIONAL = (
    *("logprobs", "repeat_penalty", "seed", "stop", "stream", "temperature", "top_p", "response_format"),
    *(effort.EFFORT, effort.TEMPLATE),
)
_NO_PLAIN_WORDS = tuple(name for name in _OPTIONAL if name not in ("seed", "stop", "stream"))
"""Parameters whose names are not words of ordinary messages."""
_LOST = {
    "logprobs": "replies come without log-probabilities, which --vote logprob needs",
    "seed": "samples cannot be drawn again alike",
    "stop": "replies are cut here, and may cost more tokens than are used",
    "temperature": "it samples at its own, --temperature plays no part",
    "top_p": "--top-p plays no part",
    "response_format": "answers are checked when they have come, not held to their kind",
    effort.EFFORT: "--thinking plays no part; if it has another field for it, name that with --request-field",
    effort.TEMPLATE: "its template cannot be told whether to think; see --request-field",
}
"""What the user loses with a parameter that an endpoint does not take; the other parameters are made up for."""

_MOST_STOPS = 4
"""The limit of OpenAI, which others have adopted."""
_COLD = 0.01
"""Used in place of a temperature of 0, or as `top_p` if no temperature is taken: nearly greedy either way."""

_NO_ROUTE = (404, 405, 501)

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Dialect:
    """How the endpoint is spoken to, as far as it is known.

    Attributes:
        address: The endpoint and the model.
        api: The API in use.
        settled: Whether the endpoint is known to have that API for the model, or the user chose it.
        extra: Fields that the user adds to each call.
        n_honoured: Whether one call may ask for several choices; None before that is tried.
        thinks: Whether the model is known to think before it replies.
    """

    address: Address
    api: Api
    settled: bool
    extra: Mapping[str, Any] = field(default_factory=dict)
    n_honoured: bool | None = None
    thinks: bool = False
    _max_tokens: str = "max_tokens"
    _refused: set[str] = field(default_factory=set)
    _coldest: float = 0.0
    _either: bool = False
    _blank_stops: bool = True
    _told: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, address: Address, api: EndpointApi, extra: Mapping[str, Any] | None = None) -> Dialect:
        """Start with what the user chose, by option or by the URL."""
        chosen = address.api if api == "auto" else api
        return cls(address, chosen or "chat", settled=chosen is not None, extra=extra or {})

    @property
    def path(self) -> str:
        """Return the path that calls go to."""
        return PATHS[self.api]

    @property
    def constraints(self) -> frozenset[type[Constraint]]:
        """Return the kinds of constraint that the endpoint is sent, and has not refused."""
        told = self.api == "chat" and not {"response_format"} & (self._refused | self.extra.keys())
        return guidance.ENFORCED if told else frozenset()

    def body(self, request: Request, sampling: Sampling, n: int = 1) -> Body:
        """Write the body of a call for `n` choices."""
        body = full_body(self.api, self.address, request, sampling)
        self._cool(body)
        body["stop"] = self._stops(sampling.stop)
        if self.api == "chat":
            body |= self._thinking(sampling)
            body["response_format"] = guidance.response_format(request.constraint)
        kept = {
            name: value
            for name, value in body.items()
            if name not in self._refused and value is not None and value != []
        }
        del kept["max_tokens"]
        wrapping = guidance.WRAPPING_TOKENS if "response_format" in kept else 0
        kept[self._max_tokens] = self.most_tokens(sampling) + wrapping
        return kept | ({"n": n} if n > 1 else {}) | dict(self.extra)

    def most_tokens(self, sampling: Sampling) -> int:
        """Return the tokens that a reply may take, including its thought."""
        thinks = self.thinks or self._max_tokens != "max_tokens" or sampling.thinking == "on"
        return sampling.max_tokens + (sampling.max_thinking_tokens if thinks else 0)

    def adapt(self, refusal: Refusal, body: Body) -> bool:
        """Learn from a refused call; return whether it may be taken if it is written anew."""
        if refusal.about_length or refusal.about_content:
            return False
        if (
            refusal.forbids
        ):  # mostly because of the prompt; but OpenAI answers 403 to logprobs that a model lacks
            return self._without_refused(refusal, body, _NO_PLAIN_WORDS)
        if "n" in body and refusal.status < 500 and _names_n(refusal):
            self.n_honoured = False
            return True
        if "messages" in body and not self.settled and _no_chat(refusal):
            self.api, self.settled = "completions", True
            return True
        if "max_tokens" in body and "max_completion_tokens" in refusal.message:
            self._max_tokens = "max_completion_tokens"  # which counts thoughts, too
            return True
        if refusals.needs_room(refusal) and not self.thinks:
            self.thinks = True
            return True
        return self._without_refused(refusal, body)

    def notice(self, replies: Iterable[Completion | RowError], body: Body) -> None:
        """Learn from replies: a thought shows that the model thinks, an empty reply that it was stopped too soon."""
        for reply in replies:
            if not isinstance(reply, Completion):
                continue
            self.thinks = self.thinks or reply.thought is not None
            blank = not reply.text.strip() and reply.finish_reason == "stop"
            if blank and any(not stop.strip() for stop in body.get("stop", ())):
                self._blank_stops = False

    def _cool(self, body: Body) -> None:
        """Set how to sample, as far as the endpoint takes that."""
        if body["temperature"] == 0:
            body["temperature"] = self._coldest
            if "temperature" in self._refused and self._coldest:
                body["top_p"] = _COLD
        if self._either and "temperature" not in self._refused:
            body.pop("top_p", None)

    def _stops(self, stop: Sequence[str]) -> list[str]:
        """Return the stop strings to send; replies are searched for all of them, too.

        A chat model may begin with a line end, or think in its text, and must not be stopped there. So blank ones are
        only for plain completions, which would not end without them, until one was stopped before it began.
        """
        if self.thinks:
            return []
        blank_too = self.api == "completions" and self._blank_stops
        sent = [one for one in stop if one.strip() or (blank_too and one)]
        return sent if self.address.plain else sent[:_MOST_STOPS]

    def _thinking(self, sampling: Sampling) -> Body:
        """Return the fields that say whether to think; none for models that do not think."""
        if self.extra.keys() & effort.FIELDS or (sampling.thinking != "on" and not self.thinks):
            return {}
        return effort.thinking_fields(self.address, sampling.thinking, self._refused)

    def _without_refused(self, refusal: Refusal, body: Body, parameters: Sequence[str] = _OPTIONAL) -> bool:
        names = [
            name for name in refusals.named(refusal, parameters) if name in body and name not in self.extra
        ]
        if {"temperature", "top_p"} <= {*names} and refusals.excludes_both(refusal):
            self._either = True
            self._tell("top_p", "takes temperature or top_p, not both: --top-p plays no part")
            return True
        for name in names:
            self._leave_out(name, refusal, body)
        return bool(names)

    def _leave_out(self, name: str, refusal: Refusal, body: Body) -> None:
        """Leave a parameter out from now on, or send less of it if that may be enough."""
        if name == "temperature" and self._warmer(refusal, body):
            return
        if name == "stop" and self._fewer_stops(refusal, body):
            return
        if name == effort.EFFORT:
            self._less_effort(refusal, body)
            return
        self._refused.add(name)
        if name in _LOST:
            self._tell(name, f"takes no {name}: {_LOST[name]}")

    def _warmer(self, refusal: Refusal, body: Body) -> bool:
        """Use the lowest temperature that is not refused; return whether there may be one."""
        asked = body["temperature"]
        if asked > _COLD or refusals.only_default(refusal):
            self._coldest = 0.0
            return False
        least = refusals.least_value(refusal) or _COLD
        if least <= asked:
            self._tell("temperature", f"takes no temperature near 0: top_p {_COLD} is used in its place")
            return False
        self._coldest = least
        self._tell("cold", f"takes no temperature of 0: {least} is used, which is nearly greedy")
        return True

    def _fewer_stops(self, refusal: Refusal, body: Body) -> bool:
        """Send no blank stop strings if those are refused; return whether others may be sent."""
        others = [one for one in body["stop"] if one.strip()]
        if not refusals.about_blanks(refusal) or others == body["stop"]:
            return False
        self._blank_stops = False
        self._tell("stop", f"takes no blank stop strings: {_LOST['stop']}")
        return True

    def _less_effort(self, refusal: Refusal, body: Body) -> None:
        asked = body[effort.EFFORT]
        wanted: Literal["off", "on"] = "on" if asked in ("medium", "high") else "off"
        self._refused |= effort.refused_efforts(asked, wanted, refusal.message)
        if effort.EFFORT in self._refused:
            self._tell(effort.EFFORT, f"takes no {effort.EFFORT} {asked!r}: {_LOST[effort.EFFORT]}")

    def _tell(self, about: str, message: str) -> None:
        """Warn about something once."""
        if about not in self._told:
            self._told.add(about)
            _log.warning("%s %s", self.address.spec, message)


def full_body(api: Api, address: Address, request: Request, sampling: Sampling) -> Body:
    """Write the body of a call for one choice, as we would send it to an endpoint that takes every parameter.

    Own servers (plain http) are asked not to penalise repetition, which is not part of OpenAI's API: llama_cpp.server
    does it by default, which changes what the model writes.
    """
    body: Body = {
        "model": address.model,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "seed": request.seed,
        "stream": False,
    }
    if api == "chat":
        body |= {"messages": request.messages, "logprobs": True}
    else:
        body |= {"prompt": request.text, "logprobs": 1}
    if address.plain:
        body["repeat_penalty"] = 1.0
    if sampling.temperature > 0 and sampling.top_p < 1:
        body["top_p"] = sampling.top_p
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    return body


def wanted(dialect: Dialect, request: Request, sampling: Sampling) -> str:
    """Write everything that a reply depends on, whether the endpoint takes it or not, as one string."""
    body = full_body(dialect.api, dialect.address, request, sampling)
    constraint = guidance.response_format(request.constraint)
    thought = {"thinking": sampling.thinking, "max_thinking_tokens": sampling.max_thinking_tokens}
    whole = body | {"response_format": constraint} | dict(dialect.extra)
    return json.dumps([whole, thought], sort_keys=True, ensure_ascii=True, separators=(",", ":"))


def _no_chat(refusal: Refusal) -> bool:
    return refusal.status in _NO_ROUTE or "chat template" in refusal.message.lower()


def _names_n(refusal: Refusal) -> bool:
    """Whether a refusal names the parameter `n`, and not just a word or a line end with an n in it."""
    return refusal.parameter == "n" or bool(re.search(r"(?<![\w\\-])n(?![\w-])", refusal.message))
