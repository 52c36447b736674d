"""Measure on this machine how many sequences to decode in one batch, and remember it.

Wider batches read the weights for more tokens at once, but every token attends over the cells of all sequences of a
unified KV cache; where the two balance depends on the model and the machine.
"""

from __future__ import annotations

import contextlib
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np

from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama.context import LlamaContext
from lmcot_cli.backends.llama.library import llama
from lmcot_cli.backends.llama.model import LlamaModel
from lmcot_cli.backends.llama.remembered import memory_of, recall, remember

USUAL = 16
"""The width where measuring would cost more than it saves."""

WIDTHS = (8, 16, 24, 32, 48)
"""The widths to try, below those that llama.cpp computes in tiles (64: see `scheduler.MAX_MIXED`)."""

SECONDS = 1.5
"""Maximum time to begin another width."""

SLOW_STEP = 0.25
"""Seconds for 8 tokens above which a model is not measured: a few billion parameters on two cores."""

WORTH_WIDENING = 1.03
"""Minimum gain of a wider batch, which takes more memory."""

_PROMPT_TOKENS, _PROMPT_SHARERS, _STEPS = 128, 8, 3
_CELLS_EACH = 64  # for its share of a prompt, and for one token per step


def best_width(model: LlamaModel, vocabulary_size: int, options: EngineOptions) -> int:
    """Return the width that is remembered for this model and machine; otherwise measure and remember it."""
    width = remembered_width(model.path, options)
    if width is None:
        width = measure_width(model, vocabulary_size, options)
        remember(str(width), _memory_of(model.path, options))
    return width


def remembered_width(path: Path, options: EngineOptions) -> int | None:
    """Return the width that an earlier run measured; None if there is none."""
    with contextlib.suppress(OSError, ValueError):  # no such model, or not written by us
        width = int(recall(_memory_of(path, options)) or 0)
        return width if width in (*WIDTHS, USUAL) else None
    return None


def measure_width(model: LlamaModel, vocabulary_size: int, options: EngineOptions) -> int:
    """Decode a few batches of each width, and return the width with the most tokens per second.

    The sequences are like those of a run: eight of them share a prompt.

    Raises:
        ModelError: llama.cpp could not compute a batch.
    """
    deadline = perf_counter() + SECONDS
    probe = replace(options, n_ctx=_CELLS_EACH)
    with closing(LlamaContext(model, vocabulary_size, probe, WIDTHS[-1])) as context:
        if not _holds(context, WIDTHS[0]):
            return USUAL  # the engine decodes as many as there is room for
        begun = perf_counter()
        _step(context, range(WIDTHS[0]), 0)
        _step(context, range(WIDTHS[0]), 1)
        if perf_counter() - begun > 2 * SLOW_STEP:
            return USUAL
        context.clear()
        return _fastest(context, deadline)


def _fastest(context: LlamaContext, deadline: float) -> int:
    best, best_rate = USUAL, 0.0
    position = _PROMPT_TOKENS
    ready = 0
    for width in WIDTHS:
        if perf_counter() > deadline or not _holds(context, width):
            break
        for first in range(ready, width, _PROMPT_SHARERS):
            _begin(context, range(first, first + _PROMPT_SHARERS), position)
        ready = width
        times = [_step(context, range(width), position + step) for step in range(_STEPS)]
        position += _STEPS
        rate = width / min(times)
        if rate < best_rate:
            break
        if rate > best_rate * WORTH_WIDENING:
            best, best_rate = width, rate
    return best


def _holds(context: LlamaContext, width: int) -> bool:
    return width * _CELLS_EACH <= context.cells and width <= context.sequences


def _begin(context: LlamaContext, sequences: range, length: int) -> None:
    """Decode a prompt and let sequences share it."""
    context.batch.add_run(np.zeros(length, np.int32), 0, sequences[0], last_logits=True)
    context.decode()
    for sequence in sequences[1:]:
        context.share(sequences[0], sequence, length)


def _step(context: LlamaContext, sequences: range, position: int) -> float:
    """Decode one token of each sequence, and return the seconds it took."""
    context.batch.add_each([0] * len(sequences), [position] * len(sequences), sequences)
    begin = perf_counter()
    context.decode()
    return perf_counter() - begin


def _memory_of(path: Path, options: EngineOptions) -> Path:
    """Return the file for the width of a model under these settings."""
    file = path.stat()
    model = (str(path.resolve()), file.st_size, file.st_mtime_ns)
    settings = (options.threads, options.gpu_layers, options.flash_attention, options.kv_type)
    return memory_of("widths", model, settings, llama().__version__, WIDTHS)
