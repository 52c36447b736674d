"""How many tokens one request may take, and what to do where they are too few."""

from __future__ import annotations

from dataclasses import dataclass

from lmcot_cli.backends.base import Sampling
from lmcot_cli.errors import PromptTooLongError


@dataclass(frozen=True, slots=True)
class ContextLimit:
    """The maximum tokens of a prompt and its completion together.

    Attributes:
        tokens: That many.
        name: What sets the limit, for messages.
        remedy: What to type for more; None where the model has no more.
        model_tokens: Tokens of the model's own context; None where it sets no limit.
    """

    tokens: int
    name: str = "the model's context"
    remedy: str | None = None
    model_tokens: int | None = None

    def error(self, prompt_tokens: int, room: int, sampling: Sampling) -> PromptTooLongError:
        """Return the error for a prompt that leaves too little room.

        Args:
            prompt_tokens: Tokens of the prompt.
            room: Tokens that may be written, thought and reply together.
            sampling: The settings that `room` follows from.
        """
        option, advice = sampling.limit, self.advice_for(prompt_tokens + room)
        if room > sampling.max_tokens:
            left = self.tokens - prompt_tokens - sampling.max_tokens
            shorten = f"lower --max-thinking-tokens to {left}" if left > 0 else "shorten the row's context"
            option, advice = f"{option} and --max-thinking-tokens", advice or shorten
        return PromptTooLongError(prompt_tokens, room, self.tokens, option, self.name, advice)

    def advice_for(self, tokens: int) -> str | None:
        """Return what to type for a request of so many tokens; the remedy does not help beyond the model's context."""
        if self.remedy is None or self.model_tokens is None or tokens <= self.model_tokens:
            return self.remedy
        return (
            f"the model's own context is {self.model_tokens}, too little as well: shorten the row's context"
        )
