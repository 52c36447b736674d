"""What a sample records of the reply it came from, and why a reply that says nothing says nothing."""

from __future__ import annotations

from lmcot_cli.backends.base import Completion, FinishReason, Role, Sampling
from lmcot_cli.pipeline.reading import Read
from lmcot_cli.pipeline.result import RoleThought


def cut_reply(done: Completion, sampling: Sampling, role: Role) -> str | None:
    """Say which limit left a reply empty and how to raise it; None where nothing cut it short of all text."""
    if done.text.strip() or done.finish_reason != "length":
        return None
    if done.thought and not done.thought.finished:
        return (
            f"the {role} LM thought for {done.thought.tokens:,} tokens and came to no reply:"
            f" raise --max-thinking-tokens ({sampling.max_thinking_tokens}), or {sampling.limit}"
            f" ({sampling.max_tokens}) where the endpoint counts both as one"
        )
    return (
        f"the {role} LM's reply was cut after {done.completion_tokens:,} tokens and holds no text:"
        f" raise {sampling.limit} ({sampling.max_tokens}), and for a model that thinks unseen --max-thinking-tokens"
        f" ({sampling.max_thinking_tokens})"
    )


def finish_of(done: Completion, read: Read) -> FinishReason:
    """Return why a reply ended, as regards its answer: a limit that cut only what came after it cut nothing."""
    return "stop" if read.answer is not None and read.went_on else done.finish_reason


def thoughts_of(role: Role, done: Completion, *, keep: bool) -> tuple[RoleThought, ...]:
    """Return what is recorded of the thought before a reply; its text only where it is to be kept."""
    if done.thought is None:
        return ()
    return (RoleThought(role, done.thought.tokens, done.thought.text if keep else None),)


def seed_of(done: Completion, seed: int) -> int | None:
    """Return the seed that a completion was drawn with."""
    return seed if done.seeded else None
