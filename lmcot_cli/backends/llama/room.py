"""How many tokens and sequences a KV cache is made to hold, and what a request finds too little."""

from __future__ import annotations

from dataclasses import dataclass

from lmcot_cli.backends.engine_options import KV_BYTES, EngineOptions
from lmcot_cli.backends.llama.memory_shape import MemoryShape
from lmcot_cli.errors import UsageError

BATCH_TOKENS = 512
"""Tokens decoded at a time; llama.cpp takes no cache that holds fewer."""

USUAL_REQUEST_TOKENS = 1024
"""Tokens of a usual request; one that shares its prompt takes fewer cells, so more can be at work."""

LEAST_REQUEST_TOKENS = 256
"""What a question with a little context and its answer take."""

LEAST_STATES = 2
"""Those of a completion and of the prompt it begins with."""

SPARE_STATES = 2
"""Those of what prompts have in common: the instructions, and what a row's prompts begin with."""

MIB = 1024 * 1024
_STATE_BYTES = 4  # llama.cpp keeps states as float32, whatever the keys and values are
_STEP = 256  # llama.cpp rounds the size of a cache up to a multiple of this


@dataclass(frozen=True, slots=True)
class KvRoom:
    """The room of a KV cache, and of the states beside it.

    Attributes:
        request_tokens: Most tokens one request may take, prompt and completion together.
        cells: Tokens the cache holds; one that several sequences share counts once.
        states: How many sequences have room for their state; None where the model has none.
        size: Bytes it takes.
        limit: What keeps `request_tokens` from being more, in words.
        advice: What to type where that is too little; None where the model has no more.
        model_tokens: Tokens of context the model was trained with.
    """

    request_tokens: int
    cells: int
    states: int | None
    size: int
    limit: str
    advice: str | None
    model_tokens: int

    def advice_for(self, tokens: int) -> str | None:
        """Say what to type for a request of so many tokens; more room is no help where the model has too little."""
        if self.advice is None or tokens <= self.model_tokens:
            return self.advice
        return (
            f"the model's own context is {self.model_tokens}, too little as well: shorten the row's context"
        )


@dataclass(frozen=True, slots=True)
class _Budget:
    """What the budget for the KV cache has to hold; sizes in bytes.

    Attributes:
        whole: All of it.
        token: Keys and values of one token.
        state: State of one sequence.
    """

    whole: int
    token: float
    state: int

    def states(self, wanted: int, tokens: int) -> int | None:
        """Return how many sequences get a state: the least, and of what `tokens` leave no more than half."""
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
        """Return the MiB that a request of so many tokens takes, alone."""
        return _mib(tokens * self.token + LEAST_STATES * self.state)


def plan_room(shape: MemoryShape, trained_context: int, options: EngineOptions, parallel: int) -> KvRoom:
    """Size the KV cache: for `parallel` requests of usual size, for any single one, within the budget.

    Args:
        shape: What the model keeps of a text.
        trained_context: Tokens of context the model was trained with.
        options: Settings of the engine.
        parallel: Most requests at work.

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
    request_tokens = min(wanted, affordable)
    cells = max(min(usual, affordable), request_tokens, BATCH_TOKENS)
    cells = -(-cells // _STEP) * _STEP
    size = int(cells * budget.token) + (states or 0) * budget.state
    limit: tuple[str, str | None] = "the model's context", None
    if affordable < wanted:
        whole = budget.for_request(trained_context)
        limit = "the KV budget", f"raise --kv-mib (the model's whole context takes --kv-mib {whole})"
    elif wanted < trained_context:
        limit = "the --n-ctx", f"raise --n-ctx (the model's own context is {trained_context})"
    return KvRoom(request_tokens, cells, states, size, *limit, trained_context)


def _check_budget(budget: _Budget, affordable: int, least: int, options: EngineOptions) -> None:
    """Refuse a budget below what was asked for, or below any use.

    Raises:
        UsageError: Names the budget that would do.
    """
    if affordable >= least:
        return
    or_less = f", or --n-ctx {affordable}" if options.n_ctx and affordable >= LEAST_REQUEST_TOKENS else ""
    raise UsageError(
        f"--kv-mib {options.kv_mib} holds {affordable} tokens of this model, and one row may take {least}:"
        f" use --kv-mib {budget.for_request(least)}{or_less}"
    )


def _mib(size: float) -> int:
    return int(-(-size // MIB))
