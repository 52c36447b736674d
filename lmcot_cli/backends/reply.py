"""A reply at work: what its tokens spell, which of them were thought, and when it is complete."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence

from lmcot_cli.backends.base import Completion, FinishReason, Sampling, Thought
from lmcot_cli.backends.masks.after_thought import AfterThought, MarkedPieces
from lmcot_cli.backends.masks.base import Mask
from lmcot_cli.backends.masks.cue_line import CueLine
from lmcot_cli.backends.masks.lexicon import Lexicon
from lmcot_cli.backends.thinking import Marks, Part, Splitter
from lmcot_cli.errors import PromptTooLongError


class ReplyText:
    """Text that grows token by token: a thought, where the model writes one, and a reply that ends at a stop string.

    A character whose bytes are spread over several tokens appears when its last byte has come; bytes that are
    no UTF-8 become U+FFFD. Bytes of a character that is never finished are left out.

    Args:
        stop: The strings that end the reply; they are cut off. One that has only white space before it ends nothing.
        enough: See `Sampling.enough`.
        opened: The marks of the thought that the prompt has opened.
    """

    def __init__(
        self,
        stop: Sequence[str] = (),
        enough: Callable[[str], bool] | None = None,
        opened: Marks | None = None,
    ) -> None:
        self._stop = [string for string in stop if string]
        self._enough = enough
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._splitter = Splitter(opened)
        self._end: int | None = None

    @property
    def text(self) -> str:
        """The reply so far, up to the stop string that ended it."""
        return self._splitter.reply[: self._end]

    @property
    def thought(self) -> str | None:
        """The thought so far; None where there is none."""
        return self._splitter.thought

    @property
    def has_thought(self) -> bool:
        """Whether a thought has begun."""
        return self._splitter.has_thought

    @property
    def part(self) -> Part:
        """Where the text has come to."""
        return self._splitter.part

    def may_think(self, text: str) -> bool:
        """Tell whether the text, with this behind it, is a thought or the beginning of its opening mark."""
        return self._splitter.may_think(text)

    def add(self, piece: bytes, mark: str = "") -> bool:
        """Add a token; True if the reply has met a stop string, or is enough.

        Args:
            piece: Its bytes.
            mark: Its text, where it is a control token that may begin or end a thought.
        """
        if mark:
            self._splitter.add_mark(mark)
        added = self._decoder.decode(piece)
        self._splitter.add(added)
        if self.part is not Part.REPLY:
            return False
        reply = self._splitter.reply
        self._end = self._stop_in(reply)
        if self._end is not None:
            return True
        return "\n" in added and self._enough is not None and self._enough(reply)

    def _stop_in(self, reply: str) -> int | None:
        """Find the first stop string after text that is not blank."""
        begin = len(reply) - len(reply.lstrip()) + 1
        found = [at for string in self._stop if (at := reply.find(string, begin)) >= 0]
        return min(found, default=None)


class Reply:
    """A reply that grows by tokens, within its limits.

    Args:
        pieces: What tokens stand for.
        sampling: Its limits and what ends it.
        room: Most tokens there is room for, thought and reply together; see `Sampling.room`.
        opened: The marks of the thought that the prompt has opened.
        mask: What it must be; None where nothing constrains it. The thought is free.
        cue: The vocabulary, where an unconstrained reply is to begin on the line of its cue; see `CueLine`.

    Attributes:
        mask: What may come next, be it of the thought or of the reply; None where anything may.
        drawn_by: The same, or what keeps the reply on the line of its cue.
        tokens: How many were written.
    """

    __slots__ = (
        "_logprob",
        "_pieces",
        "_room",
        "_sampling",
        "_text",
        "_thinks",
        "_thought_tokens",
        "drawn_by",
        "mask",
        "tokens",
    )

    def __init__(
        self,
        pieces: MarkedPieces,
        sampling: Sampling,
        room: int,
        opened: Marks | None = None,
        mask: Mask | None = None,
        cue: Lexicon | None = None,
    ) -> None:
        self._pieces, self._sampling, self._room = pieces, sampling, room
        self._text = ReplyText(sampling.stop, sampling.enough, opened)
        self._thinks = opened is not None or room > sampling.max_tokens
        self.mask = AfterThought(mask, self._text, pieces) if mask and self._thinks else mask
        self.drawn_by = CueLine(cue, self._text) if cue and self.mask is None else self.mask
        self.tokens = 0
        self._thought_tokens = 0
        self._logprob = 0.0  # of the tokens that are not, or may not be, of the thought

    def add(self, token: int, logprob: float) -> FinishReason | None:
        """Add a token; return why the reply ends with or before it, None if it goes on."""
        piece = self._pieces.piece(token)
        if piece is None:
            return "stop"
        thinking, had_thought = self._text.part is Part.THOUGHT, self._text.has_thought
        complete = self._spell(token, piece)
        self.tokens += 1
        self._logprob += logprob
        if thinking or self._text.has_thought is not had_thought:  # so far all is thought
            self._thought_tokens, self._logprob = self.tokens, 0.0
        if complete:
            return "stop"
        return "length" if self._is_full() else None

    def completion(self, prompt_tokens: int, finish_reason: FinishReason) -> Completion:
        """Return what was written."""
        replied = self.tokens - self._thought_tokens
        return Completion(
            text=self.mask.text if self.mask else self._text.text,
            prompt_tokens=prompt_tokens,
            completion_tokens=self.tokens,
            finish_reason=finish_reason,
            logprob=self._logprob / replied if replied else None,
            thought=self._thought(),
        )

    def _spell(self, token: int, piece: bytes) -> bool:
        """Add what a token stands for; True if the reply is complete."""
        if self.mask is None:
            return self._text.add(piece, self._pieces.mark(token))
        complete = self.mask.accept(token)
        if self._thinks:  # a constrained reply without thought is all reply, whatever it looks like
            self._text.add(piece, self._pieces.mark(token))
        return complete

    def _thought(self) -> Thought | None:
        text = self._text.thought
        if text is None:
            return None
        return Thought(self._thought_tokens, text, finished=self._text.part is not Part.THOUGHT)

    def _is_full(self) -> bool:
        """Tell whether a limit is reached: that of the part it is in, or of the room."""
        if self.tokens >= self._room:
            return True
        if self._text.part is Part.THOUGHT:
            return self._thought_tokens >= self._sampling.max_thinking_tokens
        begun = self._text.part is Part.UNDECIDED and bool(self._text.text.strip())  # the beginning of a mark
        return not begun and self.tokens - self._thought_tokens >= self._sampling.max_tokens


def prompt_too_long(
    prompt_tokens: int,
    room: int,
    context_tokens: int,
    sampling: Sampling,
    limit: str = "the model's context",
    advice: str | None = None,
) -> PromptTooLongError:
    """Return the error of a prompt that has no room left for `room` tokens; with a thought, that is what to shorten.

    Args:
        prompt_tokens: Tokens of the prompt.
        room: Tokens that may be written, thought and reply together.
        context_tokens: Tokens there is room for.
        sampling: Where `room` comes from.
        limit: What limits the tokens there is room for.
        advice: What to type for more room; None where there is no more to be had.
    """
    option, left = sampling.limit, context_tokens - prompt_tokens - sampling.max_tokens
    if room > sampling.max_tokens:
        option += " and --max-thinking-tokens"
        advice = advice or (
            f"lower --max-thinking-tokens to {left}" if left > 0 else "shorten the row's context"
        )
    return PromptTooLongError(prompt_tokens, room, context_tokens, option, limit, advice)
