"""What a batch is made of, and the account of what it takes.

Everything that is decoded is a span: a run of tokens in a sequence of its own. A `SharedSpan` is a prefix
that others begin with; a `Writing` starts as the rest of a prompt and goes on token by token.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lmcot_cli.backends.llama.context import Logits
from lmcot_cli.backends.llama.prefixes import Prefix, Tokens
from lmcot_cli.backends.llama.sampling import Sampler
from lmcot_cli.backends.llama.text import StopText


@dataclass(eq=False, slots=True)
class Span:
    """Tokens on their way into a sequence.

    Attributes:
        sequence: Their sequence in the KV cache.
        cells: The KV cells set aside for them.
        parent: What the sequence begins with, if anything.
        position: Where the first of `pending` will lie.
        pending: The tokens that are still to be decoded.
        begun: Whether the sequence holds its parent's tokens.
    """

    sequence: int
    cells: int
    parent: SharedSpan | None
    position: int
    pending: Tokens
    begun: bool = False

    @property
    def can_begin(self) -> bool:
        """Whether the parent's tokens are all there to be shared."""
        return not self.begun and (self.parent is None or self.parent.ready)

    @property
    def wants_logits(self) -> bool:
        """Whether something is sampled after the last token."""
        return True


@dataclass(eq=False, slots=True)
class SharedSpan(Span):
    """A prefix in the cache.

    Attributes:
        prefix: Which one.
        unfinished: How many of the completions that go through it are not done.
        logits: Those after its last token, [vocabulary], where a prompt ends there.
        normaliser: What turns `logits` into log-probabilities.
    """

    prefix: Prefix = field(kw_only=True)
    unfinished: int = field(kw_only=True)
    logits: Logits | None = None
    normaliser: float = 0.0

    @property
    def ready(self) -> bool:
        """Whether all its tokens are decoded."""
        return self.begun and len(self.pending) == 0

    @property
    def wants_logits(self) -> bool:
        """Whether something is sampled after the last token."""
        return self.prefix.ends_prompt


@dataclass(eq=False, slots=True)
class Writing(Span):
    """A completion at work.

    Attributes:
        index: The prompt it completes.
        sampler: What chooses its tokens.
        text: What they spell.
        tokens: How many they are.
        logprob: Sum of their log-probabilities.
    """

    index: int = field(kw_only=True)
    sampler: Sampler = field(kw_only=True)
    text: StopText = field(kw_only=True)
    tokens: int = 0
    logprob: float = 0.0


class Account:
    """The KV cells and sequences that are free."""

    def __init__(self, cells: int, sequences: int) -> None:
        self._cells = cells
        self._sequences = list(range(sequences))

    def covers(self, cells: int, sequences: int) -> bool:
        """Whether that many are free."""
        return cells <= self._cells and sequences <= len(self._sequences)

    def take(self, cells: int) -> int:
        """Set cells aside and return a sequence to use them with."""
        self._cells -= cells
        return self._sequences.pop()

    def give_back(self, span: Span) -> None:
        """Free what `span` had."""
        self._cells += span.cells
        self._sequences.append(span.sequence)
