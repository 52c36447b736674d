"""The loop that writes the completions of one batch: sample, retire, go on with the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from lmcot_cli.backends.base import Completion, FinishReason, Sampling
from lmcot_cli.backends.llama.sampling import Draws, Sampler
from lmcot_cli.backends.reply import Reply
from lmcot_cli.backends.thinking import Marks
from lmcot_cli.backends.torch.sequences import Sequences

Prompt: TypeAlias = tuple[int, ...]
Begin: TypeAlias = Callable[[Sequence[Prompt]], Sequences]


class Pieces(Protocol):
    """A vocabulary, as far as writing needs it."""

    def piece(self, token: int) -> bytes | None:
        """Return the bytes a token stands for: none for a control token; None if it ends the text."""
        ...

    def mark(self, token: int) -> str:
        """Return the text of a control token that begins or ends a thought; empty for any other token."""
        ...


@dataclass(eq=False, slots=True)
class Writing:
    """A completion at work.

    Attributes:
        draws: How its tokens are drawn.
        reply: What they make.
        newest: The last token written.
        finish_reason: Why it ended; None while it goes on.
    """

    draws: Draws
    reply: Reply
    newest: int = -1
    finish_reason: FinishReason | None = None

    def go_on(self, token: int, logprob: float, pieces: Pieces) -> None:
        """Take the next token, and see whether it is the last."""
        piece = pieces.piece(token)
        if piece is None:
            self.finish_reason = "stop"
            return
        self.newest = token
        self.finish_reason = self.reply.add(piece, pieces.mark(token), logprob)

    def completion(self, prompt_tokens: int) -> Completion:
        """Return what was written."""
        assert self.finish_reason is not None
        return self.reply.completion(prompt_tokens, self.finish_reason)


def write(
    begin: Begin,
    pieces: Pieces,
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    sampling: Sampling,
    *,
    room: int,
    opened: Sequence[Marks | None],
) -> list[Completion]:
    """Write one completion a prompt, all in one batch; equal prompts are read once.

    Args:
        begin: Reads prompts into a new KV cache.
        pieces: What tokens stand for.
        prompts: Token ids of each prompt, one token or more.
        seeds: One seed a prompt.
        sampling: How tokens are chosen.
        room: Most tokens to write for each, thought and reply together.
        opened: The marks of the thought that each prompt has opened.
    """
    distinct = list(dict.fromkeys(prompts))
    sequences = begin(distinct)
    rows = [distinct.index(prompt) for prompt in prompts]
    if rows != list(range(len(distinct))):
        sequences.select(rows)
    writings = [
        Writing(Draws(sampling, seed), Reply(sampling, room, marks))
        for seed, marks in zip(seeds, opened, strict=True)
    ]
    _go_on_to_the_end(sequences, writings, pieces)
    return [writing.completion(len(prompt)) for writing, prompt in zip(writings, prompts, strict=True)]


def _go_on_to_the_end(sequences: Sequences, writings: Sequence[Writing], pieces: Pieces) -> None:
    at_work = list(writings)
    sampler = Sampler(sequences.logits.shape[1], threads=1)
    while True:
        tokens, logprobs = sampler.choose(sequences.logits, [writing.draws for writing in at_work])
        for writing, token, logprob in zip(at_work, tokens, logprobs, strict=True):
            writing.go_on(token, logprob, pieces)
        left = [row for row, writing in enumerate(at_work) if writing.finish_reason is None]
        if not left:
            return
        if len(left) < len(at_work):
            sequences.select(left)
            at_work = [at_work[row] for row in left]
        sequences.append([writing.newest for writing in at_work])
