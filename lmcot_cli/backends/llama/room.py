"""How many tokens a KV cache is made to hold, and what a request finds too little."""

from __future__ import annotations

from dataclasses import dataclass

from lmcot_cli.backends.engine_options import KV_BYTES, EngineOptions
from lmcot_cli.errors import UsageError

BATCH_TOKENS = 512
"""Tokens decoded at a time; llama.cpp takes no cache that holds fewer."""

USUAL_REQUEST_TOKENS = 1024
"""Tokens of a usual request; one that shares its prompt takes fewer cells, so more can be at work."""

LEAST_REQUEST_TOKENS = 256
"""What a question with a little context and its answer take."""

MIB = 1024 * 1024
_STEP = 256  # llama.cpp rounds the size of a cache up to a multiple of this


@dataclass(frozen=True, slots=True)
class KvRoom:
    """The room of a KV cache.

    Attributes:
        request_tokens: Most tokens one request may take, prompt and completion together.
        cells: Tokens the cache holds; one that several sequences share counts once.
        size: Bytes it takes.
        limit: What keeps `request_tokens` from being more, in words.
        advice: What to type where that is too little; None where the model has no more.
    """

    request_tokens: int
    cells: int
    size: int
    limit: str
    advice: str | None


def plan_room(values_per_token: int, trained_context: int, options: EngineOptions, parallel: int) -> KvRoom:
    """Size the KV cache: for `parallel` requests of usual size, for any single one, within the budget.

    Args:
        values_per_token: Keys and values of one token, in all layers.
        trained_context: Tokens of context the model was trained with.
        options: Settings of the engine.
        parallel: Most requests at work.

    Raises:
        UsageError: The budget holds no request.
    """
    bytes_per_token = values_per_token * KV_BYTES[options.kv_type]
    wanted = min(options.n_ctx or trained_context, trained_context)
    affordable = int(options.kv_mib * MIB / bytes_per_token)
    _check_budget(affordable, wanted, bytes_per_token, options)
    request_tokens = min(wanted, affordable)
    usual = parallel * min(wanted, USUAL_REQUEST_TOKENS)
    cells = max(min(usual, affordable), request_tokens, BATCH_TOKENS)
    cells = -(-cells // _STEP) * _STEP
    limit: tuple[str, str | None] = "the model's context", None
    if affordable < wanted:
        whole = _mib(trained_context * bytes_per_token)
        limit = "the KV budget", f"raise --kv-mib (the model's whole context takes --kv-mib {whole})"
    elif wanted < trained_context:
        limit = "the --n-ctx", f"raise --n-ctx (the model's own context is {trained_context})"
    return KvRoom(request_tokens, cells, int(cells * bytes_per_token), *limit)


def _check_budget(affordable: int, wanted: int, bytes_per_token: float, options: EngineOptions) -> None:
    """Refuse a budget below what was asked for, or below any use.

    Raises:
        UsageError: Names the budget that would do.
    """
    least = wanted if options.n_ctx else min(wanted, LEAST_REQUEST_TOKENS)
    if affordable >= least:
        return
    or_less = f", or --n-ctx {affordable}" if options.n_ctx and affordable >= LEAST_REQUEST_TOKENS else ""
    raise UsageError(
        f"--kv-mib {options.kv_mib} holds {affordable} tokens of this model, and one row may take {least}:"
        f" use --kv-mib {_mib(least * bytes_per_token)}{or_less}"
    )


def _mib(size: float) -> int:
    return int(-(-size // MIB))
