"""What a sample records of the reply it came from, and why a reply that says nothing says nothing."""

from __future__ import annotations

from lmcot_cli.backends.base import Completion, FinishReason, Role, Sampling
from lmcot_cli.pipeline.reading import Read
from lmcot_cli.pipeline.result import KeepRaw, RawReply, RoleThought
from lmcot_cli.prompts.options import Stage


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


def raw_of(stage: Stage, done: Completion, read: str | None, keep: KeepRaw) -> tuple[RawReply, ...]:
    """Return a reply as it came, where it is to be kept.

    Args:
        stage: What was asked.
        done: The reply.
        read: How it would stand there if it held what was read from it and nothing else; None where nothing was read.
        keep: Which replies are kept; odd are those that are not word for word what was read.
    """
    as_read = read is not None and _words(done.text) == _words(read)
    return () if keep == "none" or (keep == "odd" and as_read) else (RawReply(stage, done.text),)


def _words(text: str) -> str:
    """Return a text with single spaces and without the full stop at its end."""
    return " ".join(text.split()).rstrip(".\u3002")


def seed_of(done: Completion, seed: int) -> int | None:
    """Return the seed that a completion was drawn with."""
    return seed if done.seeded else None
