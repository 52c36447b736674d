"""The loop that writes the completions of one batch: sample, retire, go on with the rest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from lmcot_cli.backends.base import Completion, FinishReason, Sampling
from lmcot_cli.backends.llama.sampling import Sampler, SamplerDraws
from lmcot_cli.backends.masks.after_thought import MarkedPieces
from lmcot_cli.backends.masks.base import Mask
from lmcot_cli.backends.masks.lexicon import Lexicon
from lmcot_cli.backends.reply import Reply
from lmcot_cli.backends.thinking import Marks
from lmcot_cli.backends.torch.sequences import Sequences

Prompt: TypeAlias = tuple[int, ...]
Begin: TypeAlias = Callable[[Sequence[Prompt]], Sequences]


@dataclass(eq=False, slots=True)
class PartialCompletion:
    """A completion at work.

    Attributes:
        draws: How its tokens are drawn.
        reply: What they make.
        newest: The last token written.
        finish_reason: Why it ended; None while it goes on.
    """

    draws: SamplerDraws
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


class BatchWriting:
    """The completions of one batch, equal prompts of which are read once.

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

    def __init__(
        self,
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
    ) -> None:
        distinct = list(dict.fromkeys(prompts))
        self._sequences = begin(distinct)
        rows = [distinct.index(prompt) for prompt in prompts]
        if rows != list(range(len(distinct))):
            self._sequences.select(rows)
        replies = [
            Reply(pieces, sampling, room, marks, mask, cue)
            for marks, mask, cue in zip(opened, masks, cues, strict=True)
        ]
        writings = [
            PartialCompletion(SamplerDraws(sampling, seed, reply.drawn_by), reply)
            for seed, reply in zip(seeds, replies, strict=True)
        ]
        self._prompts = prompts
        self._at_work = dict(enumerate(writings))
        self._sampler = Sampler(self._sequences.logits.shape[1], threads=1)

    @property
    def at_work(self) -> int:
        """Completions that are not done."""
        return len(self._at_work)

    def step(self) -> dict[int, Completion]:
        """Write the next token of each; return those that are done with it, by the place of their prompts."""
        writings = list(self._at_work.values())
        tokens, logprobs = self._sampler.choose(self._sequences.logits, [one.draws for one in writings])
        for writing, token, logprob in zip(writings, tokens, logprobs, strict=True):
            writing.go_on(token, logprob)
        done = {place for place, writing in self._at_work.items() if writing.finish_reason is not None}
        completions = {
            place: self._at_work[place].completion(len(self._prompts[place])) for place in sorted(done)
        }
        self.drop(done)
        if self._at_work:
            self._sequences.append([writing.newest for writing in self._at_work.values()])
        return completions

    def drop(self, places: Collection[int]) -> None:
        """Leave off the completions of some prompts."""
        left = [row for row, place in enumerate(self._at_work) if place not in places]
        if 0 < len(left) < len(self._at_work):
            self._sequences.select(left)
        self._at_work = {place: one for place, one in self._at_work.items() if place not in places}
