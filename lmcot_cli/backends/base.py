"""The contract between the pipeline and whatever runs a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self, TypeAlias

from lmcot_cli.backends.constraint import Constraint
from lmcot_cli.backends.endpoint.counters import Counters
from lmcot_cli.errors import RowError

Role: TypeAlias = Literal["small", "large"]
"""The part a model plays: the small LM writes rationales, the large one answers."""

FinishReason: TypeAlias = Literal["stop", "length"]
"""Why a reply ended: by itself (or at a stop string), or at a limit."""

Thinking: TypeAlias = Literal["off", "on", "auto"]
"""Whether a model should think before it replies, where its chat template or endpoint offers the choice; `auto` leaves
it to the model. A model that always thinks does so under `off`, too."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen.

    Attributes:
        temperature: 0 is greedy decoding, which ignores `top_p` and seeds.
        top_p: Nucleus (Holtzman et al. 2020, arXiv 1904.09751).
        max_tokens: Maximum tokens of the reply without its thought.
        stop: Strings that end a reply. They count only after text that is not blank, and never within a thought.
        limit: The option that `max_tokens` comes from, for messages.
        thinking: Whether the model should think first.
        max_thinking_tokens: Maximum tokens of a thought. No room is kept for them where the model cannot think.
        enough: Called with the reply so far at the end of each line; True ends the reply. A backend that does not see
            single tokens may ignore it: whoever reads the reply finds the same in a longer one.
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
        """Return the maximum tokens to write, thought included if the model may think."""
        return self.max_tokens + (self.max_thinking_tokens if thinks else 0)


@dataclass(frozen=True, slots=True)
class Shot:
    """An example in front of a prompt: the prompt of another row, and the reply it should have."""

    prompt: str
    reply: str


@dataclass(frozen=True, slots=True)
class Request:
    """One completion to write.

    A backend sends `messages` to a chat template or a chat API, and `text` to anything else.

    Attributes:
        prompt: The rendered prompt of the row itself.
        seed: Seeds this completion's sampling; a backend never derives it from the request's place in a batch.
        system: Instructions that come before everything else.
        shots: Examples before the prompt.
        constraint: What the reply must be, of one of the kinds that the backend enforces.
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
        """The same as plain text, with blank lines between the examples."""
        examples = [f"{shot.prompt} {shot.reply}" for shot in self.shots]
        return "\n\n".join([*([self.system] if self.system else []), *examples, self.prompt])


@dataclass(frozen=True, slots=True)
class Thought:
    """What a model thought before its reply.

    Attributes:
        tokens: Its tokens, marks included; `Completion.completion_tokens` counts them, too.
        text: The thought without its marks; None where an endpoint does not show it.
        finished: Whether the thought ended, so that a reply could follow.
    """

    tokens: int
    text: str | None = None
    finished: bool = True


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote.

    Attributes:
        text: The reply, without its thought and without the stop string that ended it.
        prompt_tokens: Tokens of the prompt as the model saw it.
        completion_tokens: Tokens written, thought included, without the end-of-text token.
        finish_reason: `stop` (end of text or a stop string) or `length` (max_tokens or max_thinking_tokens reached).
        logprob: Mean natural-log probability per written token under the model's unmodified distribution
            (temperature 1, no truncation); None where the backend has none or nothing was written.
        cached: Whether the reply was kept from an earlier run, so that nothing was computed or paid for it.
        seeded: Whether the request's own seed was used: an endpoint may take none, or one for several choices.
        thought: The thought before the reply; None where there is none.
        lost_calls: Calls for this reply that an endpoint did not answer; each may be billed like the one it answered.
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
    """What makes two runs comparable.

    Attributes:
        spec: The model spec, aliases resolved.
        digest: SHA-256 of the model file (`sha256:...`); None where there is no file.
    """

    spec: str
    digest: str | None


Reply: TypeAlias = tuple[int, Completion | RowError]
"""A ticket and the outcome of its request."""

POLL_SECONDS = 0.2
"""How long `poll` works without a reply, so that its caller can do other things, such as hear Ctrl-C."""


class Backend(ABC):
    """A loaded model, or the way to one that is served elsewhere.

    Requests are submitted one by one and their completions collected as they finish, so that a model never waits for
    the slowest completion of a batch, and two models can work at the same time. A caller that has a list of requests
    and nothing else to do calls `complete`.

    Attributes:
        identity: Names the model in run files.
        in_background: Whether requests progress between polls (a server), or only within them (this machine).
    """

    identity: ModelIdentity
    in_background = False

    @property
    def constraints(self) -> frozenset[type[Constraint]]:
        """The kinds of constraint that the backend enforces."""
        return frozenset()

    @property
    def counters(self) -> Counters | None:
        """Counts of an endpoint's calls in this session; None for a model that runs here."""
        return None

    @property
    @abstractmethod
    def window(self) -> int:
        """How many requests to submit to keep the model busy; more only take memory."""

    @property
    @abstractmethod
    def pending(self) -> int:
        """Submitted requests whose replies have not been collected."""

    @abstractmethod
    def submit(self, ticket: int, request: Request, sampling: Sampling) -> None:
        """Submit a request. Requests whose prompts are equal, or start alike, share that work.

        Args:
            ticket: What the reply will carry; no other pending request has the same.
            request: The completion to write.
            sampling: How its tokens are chosen.
        """

    @abstractmethod
    def poll(self, *, wait: bool = True) -> list[Reply]:
        """Return the replies that arrived since the last call, in the order of their arrival.

        The reply to a request that fails by itself (its prompt does not fit, say) is its error.

        Args:
            wait: Work, or wait, until there is a reply or `POLL_SECONDS` have passed, unless nothing is pending. If
                false, return what is there; a local model then computes nothing.

        Raises:
            ModelError: The model as a whole cannot continue.
        """

    @abstractmethod
    def cancel(self, tickets: Collection[int]) -> None:
        """Drop pending requests: they get no reply, and their tickets must not be used again."""

    @abstractmethod
    def reset(self) -> None:
        """Forget what earlier requests left behind (shared prefixes), so that replies do not depend on it.

        Nothing may be pending.
        """

    @abstractmethod
    def close(self) -> None:
        """Free the model; a second call has no effect."""

    def excess(self, request: Request, sampling: Sampling) -> int | None:
        """Return by how many tokens a request and its reply exceed the context.

        Returns:
            0 or less where they fit; None where only an endpoint can tell.
        """
        return None

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion | RowError]:
        """Write one completion per request and return them in the order of the requests; nothing else may be pending.

        Raises:
            ModelError: The model as a whole cannot continue.
        """
        for ticket, request in enumerate(requests):
            self.submit(ticket, request, sampling)
        replies: dict[int, Completion | RowError] = {}
        while len(replies) < len(requests):
            replies.update(self.poll())
        return [replies[ticket] for ticket in range(len(requests))]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
