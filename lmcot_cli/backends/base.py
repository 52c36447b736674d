"""The contract between the pipeline and whatever runs a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Protocol, Self, TypeAlias

from lmcot_cli.backends.constraint import Constraint
from lmcot_cli.backends.endpoint.counters import Counters
from lmcot_cli.errors import RowError

Role: TypeAlias = Literal["small", "large"]
"""The part a model plays: the small LM writes rationales, the large one answers."""

FinishReason: TypeAlias = Literal["stop", "length"]
"""Why a reply ended: by itself (or at a stop string), or at a limit."""

Thinking: TypeAlias = Literal["off", "on", "auto"]
"""Whether a model is to think before it replies, where its chat template or endpoint lets one choose; `auto` says
nothing and leaves it to the model. A model that always thinks does so under `off`, too."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen. `temperature` 0 is greedy decoding, where `top_p` and seeds play no part.

    Attributes:
        temperature: See above.
        top_p: Nucleus (Holtzman et al. 2020, arXiv 1904.09751).
        max_tokens: Most tokens of the reply, its thought not counted.
        stop: Strings that end a reply. They count only after text that is not blank, and never within a thought.
        limit: The option that `max_tokens` comes from, for messages.
        thinking: Whether the model is to think first.
        max_thinking_tokens: Most tokens of a thought. A model that cannot think takes no room for them.
        enough: Asked with the reply so far whenever a line of it ends; True ends the reply. A backend that does not see
            tokens one by one may leave it out: whoever reads the reply finds the same in a longer one.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    limit: str = field(default="--max-tokens", compare=False)
    thinking: Thinking = "off"
    max_thinking_tokens: int = 1024
    enough: Callable[[str], bool] | None = None

    def room(self, thinks: bool) -> int:
        """Return the most tokens to be written, by a model that may think first or by one that may not."""
        return self.max_tokens + (self.max_thinking_tokens if thinks else 0)


@dataclass(frozen=True, slots=True)
class Shot:
    """An example that stands before a prompt: the prompt of another row, and the reply it should have."""

    prompt: str
    reply: str


@dataclass(frozen=True, slots=True)
class Request:
    """One completion to write.

    A backend whose model has a chat template (or that speaks a chat API) sends `messages`; any other sends `text`.

    Attributes:
        prompt: The rendered prompt of the row itself.
        seed: Seeds this completion's sampling; a backend never derives it from the request's place in a batch.
        system: What the model is told before everything else.
        shots: Examples before the prompt.
        constraint: What the reply must be; a backend that cannot enforce it is never given one
            (`Backend.constraints`).
    """

    prompt: str
    seed: int
    system: str | None = None
    shots: tuple[Shot, ...] = ()
    constraint: Constraint | None = None

    @property
    def messages(self) -> list[dict[str, str]]:
        """The conversation up to where the model replies: `role` and `content` of each turn."""
        turns = [("system", self.system)] if self.system else []
        for shot in self.shots:
            turns += [("user", shot.prompt), ("assistant", shot.reply)]
        return [{"role": role, "content": content} for role, content in [*turns, ("user", self.prompt)]]

    @property
    def text(self) -> str:
        """The same as plain text, for a model without a chat template: blank lines part the examples."""
        examples = [f"{shot.prompt} {shot.reply}" for shot in self.shots]
        return "\n\n".join([*([self.system] if self.system else []), *examples, self.prompt])


@dataclass(frozen=True, slots=True)
class Thought:
    """What a model thought before its reply.

    Attributes:
        tokens: Tokens of it, the marks around it included; those of `Completion.completion_tokens` contain them.
        text: It, without the marks; None where an endpoint keeps it to itself.
        finished: Whether it came to its end, so that a reply could follow.
    """

    tokens: int
    text: str | None = None
    finished: bool = True


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote.

    Attributes:
        text: The reply: without the thought before it, cut before the stop string that ended it.
        prompt_tokens: Tokens of the prompt as the model saw it.
        completion_tokens: Tokens written, thought included, the end-of-text token not counted.
        finish_reason: `stop` (end of text or a stop string) or `length` (max_tokens or max_thinking_tokens reached).
        logprob: Mean natural-log probability per written token under the model's unmodified distribution
            (temperature 1, no truncation); None where the backend has none or nothing was written.
        cached: Whether the reply is that of an earlier run, kept: nothing was computed or paid for it.
        seeded: Whether it was drawn with the request's own seed: an endpoint may take none, or one for several
            choices.
        thought: What came before the reply, None where nothing did.
        lost_calls: Calls for it that an endpoint did not answer, before this one or beside it; each may be billed like
            this one.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: FinishReason
    logprob: float | None
    cached: bool = False
    seeded: bool = True
    thought: Thought | None = None
    lost_calls: int = 0


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """What makes two runs comparable: the spec as the user typed it, and what it stood for.

    Attributes:
        spec: The model spec, aliases resolved.
        digest: SHA-256 of the model file (`sha256:...`); None where there is no file.
    """

    spec: str
    digest: str | None


Reply: TypeAlias = tuple[int, Completion | RowError]
"""A ticket with what became of its request."""

POLL_SECONDS = 0.2
"""How long `poll` goes on without a reply, so that whoever polls can see to other things, Ctrl-C among them."""


class Backend(Protocol):
    """A loaded model, or the way to one that is served elsewhere.

    Requests are handed in one by one (`submit`) and their completions picked up as they finish (`poll`), so that
    a model never waits for the slowest completion of a batch, and two models can work at the same time. Whoever
    has a list of requests and nothing else to do calls `complete`.
    """

    @property
    def identity(self) -> ModelIdentity:
        """Name the model for the run file."""
        ...

    @property
    def window(self) -> int:
        """How many requests to have handed in to keep the model busy; more only take memory."""
        ...

    @property
    def pending(self) -> int:
        """Requests handed in whose replies have not been picked up."""
        ...

    @property
    def in_background(self) -> bool:
        """Whether requests make progress between polls (a server), not only within them (this machine)."""
        ...

    @property
    def constraints(self) -> frozenset[type[Constraint]]:
        """The kinds of constraint that it enforces."""
        ...

    @property
    def counters(self) -> Counters | None:
        """What was asked of an endpoint in this session; None of a model that runs here."""
        ...

    def submit(self, ticket: int, request: Request, sampling: Sampling) -> None:
        """Hand in a request; its reply will carry `ticket`, which no other pending request has.

        Requests with equal prompts, or prompts that start alike, share that work.
        """
        ...

    def excess(self, request: Request, sampling: Sampling) -> int | None:
        """Count the tokens that a request, with what is to be written, has more than there is room for.

        Returns:
            0 or less where it fits; None where nobody here can tell.
        """
        ...

    def poll(self, *, wait: bool = True) -> list[Reply]:
        """Return the replies that have come since the last call, in the order in which they came.

        A request that fails by itself (its prompt does not fit, say) has its error for a reply.

        Args:
            wait: Work, or wait, until there is at least one reply or `POLL_SECONDS` are over, unless nothing is
                pending. Without it, return what is there; a local model then computes nothing.

        Raises:
            ModelError: The model as a whole cannot go on.
        """
        ...

    def cancel(self, tickets: Collection[int]) -> None:
        """Drop pending requests: they will have no reply, and nothing more is done for them.

        Their tickets are not to be used again.
        """
        ...

    def reset(self) -> None:
        """Forget what earlier requests left behind (shared prefixes), so that replies do not depend on it.

        Nothing may be pending.
        """
        ...

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion | RowError]:
        """Write one completion a request, in the order of the requests; nothing else may be pending.

        Raises:
            ModelError: The model as a whole cannot go on.
        """
        ...

    def close(self) -> None:
        """Free the model; calling it twice does no harm."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Closing(ABC):
    """What every backend does alike: `with` closes it.

    Attributes:
        in_background: Whether requests make progress between polls; a backend that serves them elsewhere says so.
    """

    in_background = False

    @property
    def constraints(self) -> frozenset[type[Constraint]]:
        """The kinds of constraint that it enforces; a backend that can says which."""
        return frozenset()

    def excess(self, request: Request, sampling: Sampling) -> int | None:
        """Tell nothing of how long a prompt is; a backend that counts tokens does. See `Backend.excess`."""
        return None

    @property
    def counters(self) -> Counters | None:
        """What was asked of an endpoint in this session; None of a model that runs here."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Free the model; calling it twice does no harm."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class StreamBackend(Closing):
    """A backend that takes requests one by one: `complete` on top of `submit` and `poll`."""

    @abstractmethod
    def submit(self, ticket: int, request: Request, sampling: Sampling) -> None:
        """Hand in a request; see `Backend.submit`."""

    @abstractmethod
    def poll(self, *, wait: bool = True) -> list[Reply]:
        """Return the replies that have come; see `Backend.poll`."""

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion | RowError]:
        """Hand in all requests, pick up all replies; see `Backend.complete`."""
        for ticket, request in enumerate(requests):
            self.submit(ticket, request, sampling)
        replies: dict[int, Completion | RowError] = {}
        while len(replies) < len(requests):
            replies.update(self.poll())
        return [replies[ticket] for ticket in range(len(requests))]


class BatchBackend(Closing):
    """A backend that takes whole batches: `submit` and `poll` on top of `complete`.

    Attributes:
        window: Requests that make up a batch.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self._handed_in: list[tuple[int, Request, Sampling]] = []

    @abstractmethod
    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion | RowError]:
        """Write one completion a request; see `Backend.complete`."""

    @property
    def pending(self) -> int:
        """Requests handed in whose replies have not been picked up."""
        return len(self._handed_in)

    def submit(self, ticket: int, request: Request, sampling: Sampling) -> None:
        """Keep a request for the next batch."""
        self._handed_in.append((ticket, request, sampling))

    def poll(self, *, wait: bool = True) -> list[Reply]:
        """Complete a batch: the first `window` requests that are sampled alike."""
        if not wait or not self._handed_in:
            return []
        sampling = self._handed_in[0][2]
        batch = [one for one in self._handed_in if one[2] == sampling][: self.window]
        replies = self.complete([request for _, request, _ in batch], sampling)
        taken = {ticket for ticket, _, _ in batch}
        self._handed_in = [one for one in self._handed_in if one[0] not in taken]
        return [(ticket, reply) for (ticket, _, _), reply in zip(batch, replies, strict=True)]

    def cancel(self, tickets: Collection[int]) -> None:
        """Drop pending requests; see `Backend.cancel`."""
        self._handed_in = [one for one in self._handed_in if one[0] not in tickets]

    def reset(self) -> None:
        """Keep nothing between batches, forget nothing."""
