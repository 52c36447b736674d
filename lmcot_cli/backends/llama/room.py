"""The size of a KV cache, and the limit that it sets to a request."""

from __future__ import annotations

from dataclasses import dataclass

from lmcot_cli.backends.context_limit import ContextLimit
from lmcot_cli.backends.engine_options import KV_BYTES, EngineOptions
from lmcot_cli.backends.llama.memory_shape import MemoryShape
from lmcot_cli.errors import UsageError

BATCH_TOKENS = 512
"""Tokens decoded at a time; llama.cpp takes no smaller cache."""

USUAL_REQUEST_TOKENS = 1024
"""Tokens of a usual request; one that shares its prompt takes fewer cells, so that more fit."""

LEAST_REQUEST_TOKENS = 256
"""Tokens of a question with a little context and its answer."""

LEAST_STATES = 2
"""States of a completion and of its prompt."""

SPARE_STATES = 2
"""States of what prompts have in common: the instructions, and the beginning of a row's prompts."""

MIB = 1024 * 1024
_STATE_BYTES = 4  # llama.cpp keeps states as float32, whatever the keys and values are
_STEP = 256  # llama.cpp rounds the size of a cache up to a multiple of this


@dataclass(frozen=True, slots=True)
class KvRoom:
    """The size of a KV cache, and of the states beside it.

    Attributes:
        limit: The tokens that one request may take.
        cells: Tokens that the cache holds; one that several sequences share counts once.
        states: Number of sequences that have room for their state; None where the model has no state.
        size: Its size in bytes.
    """

    limit: ContextLimit
    cells: int
    states: int | None
    size: int


@dataclass(frozen=True, slots=True)
class _Budget:
    """The budget for the KV cache and what it must hold, in bytes.

    Attributes:
        whole: The whole budget.
        token: Keys and values of one token.
        state: State of one sequence.
    """

    whole: int
    token: float
    state: int

    def states(self, wanted: int, tokens: int) -> int | None:
        """Return how many sequences get a state: at least two, and no more than half of what `tokens` leave holds."""
        if not self.state:
            return None
        spare = self.whole - LEAST_STATES * self.state - tokens * self.token
        share = spare / 2 if self.token else spare
        return max(LEAST_STATES, min(wanted, LEAST_STATES + int(share // self.state)))

    def tokens(self, states: int | None, most: int) -> int:
        """Return how many tokens, up to `most`, fit beside so many states."""
        left = self.whole - (states or 0) * self.state
        if left < 0:
            return 0
        return min(most, int(left / self.token)) if self.token else most

    def for_request(self, tokens: int) -> int:
        """Return the size of a single request of so many tokens, in MiB."""
        return int(-(-(tokens * self.token + LEAST_STATES * self.state) // MIB))


def plan_room(shape: MemoryShape, trained_context: int, options: EngineOptions, parallel: int) -> KvRoom:
    """Size the KV cache for `parallel` requests of usual size, and for any single one, within the budget.

    Args:
        shape: What the model keeps of a text.
        trained_context: Tokens of context that the model was trained with.
        options: Settings of the engine.
        parallel: Maximum requests in progress.

    Raises:
        UsageError: The budget holds no request.
    """
    budget = _Budget(
        whole=options.kv_mib * MIB,
        token=shape.token_values * KV_BYTES[options.kv_type],
        state=shape.state_values * _STATE_BYTES,
    )
    wanted = min(options.n_ctx or trained_context, trained_context)
    least = wanted if options.n_ctx else min(wanted, LEAST_REQUEST_TOKENS)
    states = budget.states(LEAST_STATES * parallel + SPARE_STATES, least)
    usual = parallel * min(wanted, USUAL_REQUEST_TOKENS)
    affordable = budget.tokens(states, max(usual, wanted))
    _check_budget(budget, affordable, least, options)
    tokens = min(wanted, affordable)
    cells = max(min(usual, affordable), tokens, BATCH_TOKENS)
    cells = -(-cells // _STEP) * _STEP
    size = int(cells * budget.token) + (states or 0) * budget.state
    limit = ContextLimit(tokens)
    if affordable < wanted:
        remedy = (
            f"raise --kv-mib (the model's whole context takes --kv-mib {budget.for_request(trained_context)})"
        )
        limit = ContextLimit(tokens, "the KV budget", remedy, trained_context)
    elif wanted < trained_context:
        remedy = f"raise --n-ctx (the model's own context is {trained_context})"
        limit = ContextLimit(tokens, "the --n-ctx", remedy, trained_context)
    return KvRoom(limit, cells, states, size)


def _check_budget(budget: _Budget, affordable: int, least: int, options: EngineOptions) -> None:
    """Refuse a budget that holds less than `least` tokens.

    Raises:
        UsageError: Names a budget that suffices.
    """
    if affordable >= least:
        return
    or_less = f", or --n-ctx {affordable}" if options.n_ctx and affordable >= LEAST_REQUEST_TOKENS else ""
    raise UsageError(
        f"--kv-mib {options.kv_mib} holds {affordable} tokens of this model, and one row may take {least}:"
        f" use --kv-mib {budget.for_request(least)}{or_less}"
    )
