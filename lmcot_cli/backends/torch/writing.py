"""The loop that writes the completions of one batch: sample, retire, go on with the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from lmcot_cli.backends.base import Completion, Sampling
from lmcot_cli.backends.llama.sampling import Draws, Sampler
from lmcot_cli.backends.llama.text import StopText
from lmcot_cli.backends.torch.sequences import Sequences

Prompt: TypeAlias = tuple[int, ...]
Begin: TypeAlias = Callable[[Sequence[Prompt]], Sequences]


class Pieces(Protocol):
    """A vocabulary, as far as writing needs it."""

    def piece(self, token: int) -> bytes | None:
        """Return the bytes a token stands for: none for a control token; None if it ends the text."""
        ...


@dataclass(eq=False, slots=True)
class Writing:
    """A completion at work.

    Attributes:
        draws: How its tokens are drawn.
        text: What they spell.
        newest: The last token written.
        tokens: How many are written.
        logprob: Sum of their log-probabilities.
        finish_reason: Why it ended; None while it goes on.
    """

    draws: Draws
    text: StopText
    newest: int = -1
    tokens: int = 0
    logprob: float = 0.0
    finish_reason: Literal["stop", "length"] | None = None

    def go_on(self, token: int, logprob: float, pieces: Pieces, max_tokens: int) -> None:
        """Take the next token, and see whether it is the last."""
        piece = pieces.piece(token)
        if piece is None:
            self.finish_reason = "stop"
            return
        self.newest = token
        self.tokens += 1
        self.logprob += logprob
        if self.text.add(piece):
            self.finish_reason = "stop"
        elif self.tokens == max_tokens:
            self.finish_reason = "length"

    def completion(self, prompt_tokens: int) -> Completion:
        """Return what was written."""
        assert self.finish_reason is not None
        return Completion(
            text=self.text.text,
            prompt_tokens=prompt_tokens,
            completion_tokens=self.tokens,
            finish_reason=self.finish_reason,
            logprob=self.logprob / self.tokens if self.tokens else None,
        )


def write(
    begin: Begin, pieces: Pieces, prompts: Sequence[Prompt], seeds: Sequence[int], sampling: Sampling
) -> list[Completion]:
    """Write one completion a prompt, all in one batch; equal prompts are read once.

    Args:
        begin: Reads prompts into a new KV cache.
        pieces: What tokens stand for.
        prompts: Token ids of each prompt, one token or more.
        seeds: One seed a prompt.
        sampling: How tokens are chosen.
    """
    distinct = list(dict.fromkeys(prompts))
    sequences = begin(distinct)
    rows = [distinct.index(prompt) for prompt in prompts]
    if rows != list(range(len(distinct))):
        sequences.select(rows)
    writings = [Writing(Draws(sampling, seed), StopText(sampling.stop, sampling.enough)) for seed in seeds]
    _go_on_to_the_end(sequences, writings, pieces, sampling.max_tokens)
    return [writing.completion(len(prompt)) for writing, prompt in zip(writings, prompts, strict=True)]


def _go_on_to_the_end(
    sequences: Sequences, writings: Sequence[Writing], pieces: Pieces, max_tokens: int
) -> None:
    at_work = list(writings)
    sampler = Sampler(sequences.logits.shape[1], threads=1)
    while True:
        tokens, logprobs = sampler.choose(sequences.logits, [writing.draws for writing in at_work])
        for writing, token, logprob in zip(at_work, tokens, logprobs, strict=True):
            writing.go_on(token, logprob, pieces, max_tokens)
        left = [row for row, writing in enumerate(at_work) if writing.finish_reason is None]
        if not left:
            return
        if len(left) < len(at_work):
            sequences.select(left)
            at_work = [at_work[row] for row in left]
        sequences.append([writing.newest for writing in at_work])
