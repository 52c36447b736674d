"""A model as verification asks it, be it the source or an export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lmcot_cli.backends.sampling import Logits

RATE_SEQUENCES = 16
"""Sequences decoded at once where a rate is measured: the engine's default batch."""


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """What a model says of its control tokens.

    Attributes:
        bos: The beginning-of-text token, if any.
        eos: The end-of-text token, if any.
        ends: All tokens that end a text.
        adds_bos: Whether prompts without a chat template begin with `bos`.
        adds_eos: Whether they end in `eos`.
        has_template: Whether there is a chat template.
    """

    bos: int | None
    eos: int | None
    ends: frozenset[int]
    adds_bos: bool
    adds_eos: bool
    has_template: bool


class Subject(Protocol):
    """One model.

    Attributes:
        type: How its weights are stored: `f32`, `f16`, `q4_0`... of a GGUF file, `onnx` or `onnx-int8`.
        bytes: Size of its weights on the disk.
        special: Its control tokens.
    """

    type: str
    bytes: int
    special: SpecialTokens

    def render(self, prompt: str) -> str:
        """Render a prompt by the chat template, without one as it is."""
        ...

    def prompt_tokens(self, prompt: str) -> list[int]:
        """Tokenize a prompt as it is sent to the model."""
        ...

    def text_tokens(self, text: str) -> list[int]:
        """Tokenize text that names no control token, with what the tokenizer puts around it."""
        ...

    def logits(self, prompt: Sequence[int], written: Sequence[int]) -> Logits:
        """Return the logits of a text that is given, [positions, vocabulary].

        The positions are those of the prompt and of what was written after it, for an encoder-decoder model those
        of the decoder alone.
        """
        ...

    def rate(self, steps: int) -> float:
        """Measure how many tokens a second `RATE_SEQUENCES` sequences are decoded at, in `steps` steps."""
        ...

    def close(self) -> None:
        """Free the model; calling it twice does no harm."""
        ...
