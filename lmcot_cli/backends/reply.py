"""A reply at work: what its tokens spell, which of them were thought, and when it is complete."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence

from lmcot_cli.backends.base import Completion, FinishReason, Sampling, Thought
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
        sampling: Its limits and what ends it.
        room: Most tokens there is room for, thought and reply together.
        opened: The marks of the thought that the prompt has opened.

    Attributes:
        text: What the tokens spell.
        tokens: How many they are.
    """

    __slots__ = ("_logprob", "_room", "_sampling", "_thought_tokens", "text", "tokens")

    def __init__(self, sampling: Sampling, room: int, opened: Marks | None = None) -> None:
        self._sampling, self._room = sampling, room
        self.text = ReplyText(sampling.stop, sampling.enough, opened)
        self.tokens = 0
        self._thought_tokens = 0
        self._logprob = 0.0  # of the tokens that are not, or may not be, of the thought

    def add(self, piece: bytes, mark: str, logprob: float) -> FinishReason | None:
        """Add a token that does not end the text; return why the reply ends with it, None if it goes on.

        Args:
            piece: Its bytes.
            mark: Its text, where it is a control token that may begin or end a thought.
            logprob: Its log-probability.
        """
        thinking, had_thought = self.text.part is Part.THOUGHT, self.text.has_thought
        complete = self.text.add(piece, mark)
        self.tokens += 1
        self._logprob += logprob
        if thinking or self.text.has_thought is not had_thought:  # so far all is thought
            self._thought_tokens, self._logprob = self.tokens, 0.0
        if complete:
            return "stop"
        return "length" if self._is_full() else None

    def completion(self, prompt_tokens: int, finish_reason: FinishReason) -> Completion:
        """Return what was written."""
        replied = self.tokens - self._thought_tokens
        return Completion(
            text=self.text.text,
            prompt_tokens=prompt_tokens,
            completion_tokens=self.tokens,
            finish_reason=finish_reason,
            logprob=self._logprob / replied if replied else None,
            thought=self._thought(),
        )

    def _thought(self) -> Thought | None:
        text = self.text.thought
        if text is None:
            return None
        return Thought(self._thought_tokens, text, finished=self.text.part is not Part.THOUGHT)

    def _is_full(self) -> bool:
        """Tell whether a limit is reached: that of the part it is in, or of the room."""
        if self.tokens >= self._room:
            return True
        if self.text.part is Part.THOUGHT:
            return self._thought_tokens >= self._sampling.max_thinking_tokens
        begun = self.text.part is Part.UNDECIDED and bool(self.text.text.strip())  # the beginning of a mark
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
