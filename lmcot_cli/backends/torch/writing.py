"""The loop that writes the completions of one batch: sample, retire, go on with the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from lmcot_cli.backends.base import Completion, FinishReason, Sampling
from lmcot_cli.backends.llama.sampling import Draws, Sampler
from lmcot_cli.backends.masks.after_thought import MarkedPieces
from lmcot_cli.backends.masks.base import Mask
from lmcot_cli.backends.masks.lexicon import Lexicon
from lmcot_cli.backends.reply import Reply
from lmcot_cli.backends.thinking import Marks
from lmcot_cli.backends.torch.sequences import Sequences

Prompt: TypeAlias = tuple[int, ...]
Begin: TypeAlias = Callable[[Sequence[Prompt]], Sequences]


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

    def go_on(self, token: int, logprob: float) -> None:
        """Take the next token, and see whether it is the last."""
        self.newest = token
        self.finish_reason = self.reply.add(token, logprob)

    def completion(self, prompt_tokens: int) -> Completion:
        """Return what was written."""
        assert self.finish_reason is not None
        return self.reply.completion(prompt_tokens, self.finish_reason)


def write(
    begin: Begin,
    pieces: MarkedPieces,
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    masks: Sequence[Mask | None],
    cues: Sequence[Lexicon | None],
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
        masks: What constrains each reply, None where nothing does.
        cues: The vocabulary for each reply that is to begin on the line of its cue, None for others.
        sampling: How tokens are chosen.
        room: Most tokens to write for each, thought and reply together.
        opened: The marks of the thought that each prompt has opened.
    """
    distinct = list(dict.fromkeys(prompts))
    sequences = begin(distinct)
    rows = [distinct.index(prompt) for prompt in prompts]
    if rows != list(range(len(distinct))):
        sequences.select(rows)
    replies = [
        Reply(pieces, sampling, room, marks, mask, cue)
        for marks, mask, cue in zip(opened, masks, cues, strict=True)
    ]
    writings = [
        Writing(Draws(sampling, seed, reply.drawn_by), reply)
        for seed, reply in zip(seeds, replies, strict=True)
    ]
    _go_on_to_the_end(sequences, writings)
    return [writing.completion(len(prompt)) for writing, prompt in zip(writings, prompts, strict=True)]


def _go_on_to_the_end(sequences: Sequences, writings: Sequence[Writing]) -> None:
    at_work = list(writings)
    sampler = Sampler(sequences.logits.shape[1], threads=1)
    while True:
        tokens, logprobs = sampler.choose(sequences.logits, [writing.draws for writing in at_work])
        for writing, token, logprob in zip(at_work, tokens, logprobs, strict=True):
            writing.go_on(token, logprob)
        left = [row for row, writing in enumerate(at_work) if writing.finish_reason is None]
        if not left:
            return
        if len(left) < len(at_work):
            sequences.select(left)
            at_work = [at_work[row] for row in left]
        sequences.append([writing.newest for writing in at_work])
