"""What a sample records of its replies, and why a reply is empty."""

from __future__ import annotations

from lmcot_cli.backends.base import Completion, FinishReason, Role, Sampling
from lmcot_cli.pipeline.reading import Read
from lmcot_cli.pipeline.result import KeepRaw, RawReply, RoleThought
from lmcot_cli.prompts.options import Stage


def cut_reply(done: Completion, sampling: Sampling, role: Role) -> str | None:
    """Say which limit left a reply empty and how to raise it; None where no limit did."""
    if done.text.strip() or done.finish_reason != "length":
        return None
    if done.thought and not done.thought.finished:
        return (
            f"the {role} LM thought for {done.thought.tokens:,} tokens and began no reply:"
            f" raise --max-thinking-tokens ({sampling.max_thinking_tokens}), or {sampling.limit}"
            f" ({sampling.max_tokens}) where the endpoint counts both as one"
        )
    return (
        f"the {role} LM's reply was cut after {done.completion_tokens:,} tokens and holds no text:"
        f" raise {sampling.limit} ({sampling.max_tokens}), and for a model that thinks unseen --max-thinking-tokens"
        f" ({sampling.max_thinking_tokens})"
    )


def finish_of(done: Completion, read: Read) -> FinishReason:
    """Return why a reply ended; a limit that cut only text after the answer does not count."""
    return "stop" if read.answer is not None and read.went_on else done.finish_reason


def thoughts_of(role: Role, done: Completion, *, keep: bool) -> tuple[RoleThought, ...]:
    """Return the thought before a reply, with its text only if `keep` says so."""
    if done.thought is None:
        return ()
    return (RoleThought(role, done.thought.tokens, done.thought.text if keep else None),)


def raw_of(stage: Stage, done: Completion, read: str | None, keep: KeepRaw) -> tuple[RawReply, ...]:
    """Return a reply as it came, if it is to be kept.

    Args:
        stage: The stage that asked for it.
        done: The reply.
        read: The reply as it would be if it held only what was read from it; None where nothing was read.
        keep: Which replies are kept; odd are those that differ from `read` in their words.
    """
    as_read = read is not None and _words(done.text) == _words(read)
    return () if keep == "none" or (keep == "odd" and as_read) else (RawReply(stage, done.text),)


def _words(text: str) -> str:
    """Return a text with single spaces and without a full stop at its end."""
    return " ".join(text.split()).rstrip(".\u3002")
