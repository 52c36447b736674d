"""The contract between the pipeline and whatever runs a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self

from lmcot_cli.errors import RowError


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen. `temperature` 0 is greedy decoding, where `top_p` and seeds play no part."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One completion to write.

    Attributes:
        prompt: The rendered prompt. A backend whose model has a chat template sends it as the user's message.
        seed: Seeds this completion's sampling; a backend never derives it from the request's place in a batch.
    """

    prompt: str
    seed: int


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote.

    Attributes:
        text: The completion, cut before the stop string that ended it.
        prompt_tokens: Tokens of the prompt as the model saw it.
        completion_tokens: Tokens written, the end-of-text token not counted.
        finish_reason: `stop` (end of text or a stop string) or `length` (max_tokens reached).
        logprob: Mean natural-log probability per written token under the model's unmodified distribution
            (temperature 1, no truncation); None where the backend has none or nothing was written.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: Literal["stop", "length"]
    logprob: float | None


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """What makes two runs comparable: the spec as the user typed it, and what it stood for.

    Attributes:
        spec: The model spec, aliases resolved.
        digest: SHA-256 of the model file (`sha256:...`); None where there is no file.
    """

    spec: str
    digest: str | None


class Backend(Protocol):
    """A loaded model: a batch of requests goes in, completions come out in the same order."""

    @property
    def identity(self) -> ModelIdentity:
        """Name the model for the run file."""
        ...

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion | RowError]:
        """Write one completion a request, in the order of the requests.

        A request that fails by itself (its prompt does not fit, say) has its error in its place, and the others
        are completed all the same. Requests with equal prompts, or prompts that start alike, share that work.

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
