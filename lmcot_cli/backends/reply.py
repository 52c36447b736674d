"""A completion in progress: what its tokens spell, how the next one is drawn, and when it is complete."""

from __future__ import annotations

from dataclasses import dataclass

from lmcot_cli.backends.base import Completion, FinishReason, Sampling, Thought
from lmcot_cli.backends.masks.after_thought import AfterThought
from lmcot_cli.backends.masks.base import Mask
from lmcot_cli.backends.masks.cue_line import CueLine
from lmcot_cli.backends.masks.lexicon import Lexicon
from lmcot_cli.backends.reply_text import ReplyText
from lmcot_cli.backends.sampling import SamplerDraws
from lmcot_cli.backends.thinking import Marks, Part
from lmcot_cli.backends.vocabulary import TokenIds, Vocabulary


@dataclass(frozen=True, eq=False, slots=True)
class WritingJob:
    """A completion to write.

    Attributes:
        ticket: Identifies it.
        prompt: The tokens that it follows, [tokens].
        seed: Seeds its draws.
        sampling: Its limits, and how its tokens are chosen.
        room: Maximum tokens to write, thought and reply together; see `Sampling.room`.
        opened: The marks of the thought that the prompt has opened.
        mask: What the reply must be; None where nothing constrains it. The thought is free.
        cue: The vocabulary, where an unconstrained reply must begin on the line of its cue; see `CueLine`.
    """

    ticket: int
    prompt: TokenIds
    seed: int
    sampling: Sampling
    room: int
    opened: Marks | None = None
    mask: Mask | None = None
    cue: Lexicon | None = None


class PartialCompletion:
    """A completion that grows token by token, within its limits.

    Attributes:
        job: What to write.
        mask: What may come next, in the thought or in the reply; None where anything may.
        draws: How its tokens are drawn.
        newest: The latest token.
        tokens: Number of tokens written.
    """

    __slots__ = (
        "_logprob", "_text", "_thinks", "_thought_tokens", "_vocabulary", "draws", "job", "mask", "newest", "tokens",
    )  # fmt: skip

    def __init__(self, job: WritingJob, vocabulary: Vocabulary) -> None:
        self.job, self._vocabulary = job, vocabulary
        self._text = ReplyText(job.sampling.stop, job.sampling.enough, job.opened)
        self._thinks = job.opened is not None or job.room > job.sampling.max_tokens
        self.mask = job.mask
        if job.mask and self._thinks:
            self.mask = AfterThought(job.mask, self._text.splitter, vocabulary)
        drawn_by = CueLine(job.cue, self._text) if job.cue and self.mask is None else self.mask
        self.draws = SamplerDraws(job.sampling, job.seed, drawn_by)
        self.newest = -1
        self.tokens = self._thought_tokens = 0
        self._logprob = 0.0  # of the tokens that are not, or may not be, of the thought

    def add(self, token: int, logprob: float) -> FinishReason | None:
        """Add a token; return why the completion ends with or before it, None if it continues."""
        self.newest = token
        piece = self._vocabulary.piece(token)
        if piece is None:
            return "stop"
        splitter = self._text.splitter
        thinking, had_thought = splitter.part is Part.THOUGHT, splitter.has_thought
        complete = self._spell(token, piece)
        self.tokens += 1
        self._logprob += logprob
        if thinking or splitter.has_thought is not had_thought:  # so far all is thought
            self._thought_tokens, self._logprob = self.tokens, 0.0
        if complete:
            return "stop"
        return "length" if self._is_full() else None

    def completion(self, finish_reason: FinishReason) -> Completion:
        """Return what was written."""
        replied = self.tokens - self._thought_tokens
        return Completion(
            text=self.mask.text if self.mask else self._text.text,
            prompt_tokens=len(self.job.prompt),
            completion_tokens=self.tokens,
            finish_reason=finish_reason,
            logprob=self._logprob / replied if replied else None,
            thought=self._thought(),
        )

    def _spell(self, token: int, piece: bytes) -> bool:
        """Add what a token stands for, and return whether the reply is complete."""
        if self.mask is None:
            return self._text.add(piece, self._vocabulary.mark(token))
        complete = self.mask.accept(token)
        if self._thinks:  # a constrained reply without thought is all reply, whatever it looks like
            self._text.add(piece, self._vocabulary.mark(token))
        return complete

    def _thought(self) -> Thought | None:
        text, part = self._text.splitter.thought, self._text.splitter.part
        return None if text is None else Thought(self._thought_tokens, text, part is not Part.THOUGHT)

    def _is_full(self) -> bool:
        """Return whether a limit is reached: that of the part it is in, or of the room."""
        if self.tokens >= self.job.room:
            return True
        part, sampling = self._text.splitter.part, self.job.sampling
        if part is Part.THOUGHT:
            return self._thought_tokens >= sampling.max_thinking_tokens
        begun = part is Part.UNDECIDED and bool(self._text.text.strip())  # the beginning of a mark
        return not begun and self.tokens - self._thought_tokens >= sampling.max_tokens
