"""Choose the next tokens of many sequences from their logits at once.

llama.cpp's own sampler chains take 5 ms per token at a vocabulary of 49,000. Here nothing is sorted: a token is drawn
from the whole softmax, and drawn again where it lies outside the nucleus (rejection sampling, as in FlashInfer). That
leaves a few passes over the logits, which numpy runs with vector instructions and without the interpreter's lock, so
that threads can share them.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from lmcot_cli.backends.base import Sampling
from lmcot_cli.backends.masks.base import Mask
from lmcot_cli.errors import ModelError

Logits: TypeAlias = npt.NDArray[np.float32]
"""The model's output, [rows, vocabulary]."""

Weights: TypeAlias = npt.NDArray[np.float32]
"""Unnormalised probabilities, [rows, vocabulary]."""

GROUP = 128
"""Tokens whose weights are summed, so that a draw searches one group instead of the whole vocabulary."""

CACHED_VALUES = 1 << 17
"""Logits that a thread works on at a time: with their weights they stay in a core's cache (2 x 512 KiB)."""

WORTH_A_THREAD = 1 << 18
"""Minimum logits for which a second thread pays."""


class SamplerDraws:
    """How one completion's tokens are drawn: temperature first, then the nucleus of mass top-p.

    Nucleus sampling is Holtzman et al. 2020 (arXiv 1904.09751); the order is that of transformers and vLLM. A draw
    depends only on the seed and the logits. Temperature 0 takes the likeliest token.

    Attributes:
        mask: What may come next; None where anything may. Where it does not allow a token, another is drawn from the
            allowed ones (and their nucleus) with the next random number. llama.cpp's tools do the same, and at top-p 1
            it is equivalent to drawing from the allowed ones at once.
    """

    __slots__ = ("mask", "random", "temperature", "top_p")

    def __init__(self, sampling: Sampling, seed: int, mask: Mask | None = None) -> None:
        self.temperature = sampling.temperature
        self.top_p = sampling.top_p
        self.random = Random(seed).random
        self.mask = mask


class Sampler:
    """Chooses the next tokens of a batch of sequences."""

    def __init__(self, vocabulary_size: int, threads: int) -> None:
        self._rows_at_once = max(CACHED_VALUES // vocabulary_size, 1)
        groups = -(-vocabulary_size // GROUP)  # the last one is filled up with weights of 0
        self._scratch = np.zeros((threads, self._rows_at_once, groups * GROUP), np.float32)
        self._pool = ThreadPoolExecutor(threads, "sampling") if threads > 1 else None

    def choose(self, logits: Logits, draws: Sequence[SamplerDraws]) -> tuple[list[int], list[float]]:
        """Choose one token per row.

        Args:
            logits: [rows, vocabulary]; not changed.
            draws: One per row.

        Returns:
            The tokens, and their natural-log probabilities at temperature 1 under the whole distribution.

        Raises:
            ModelError: The logits are not numbers.
        """
        parts = min(len(self._scratch), len(draws)) if logits.size >= WORTH_A_THREAD and self._pool else 1
        edges = [len(draws) * part // parts for part in range(parts + 1)]
        others = [
            self._pool.submit(self._choose, logits[begin:end], draws[begin:end], scratch)
            for begin, end, scratch in zip(edges[1:-1], edges[2:], self._scratch[1:], strict=False)
            if self._pool
        ]
        tokens, logprobs = self._choose(logits[: edges[1]], draws[: edges[1]], self._scratch[0])
        for other in others:
            more_tokens, more_logprobs = other.result()
            tokens += more_tokens
            logprobs += more_logprobs
        return tokens, logprobs

    def close(self) -> None:
        """End the threads."""
        if self._pool:
            self._pool.shutdown()

    def _choose(
        self, logits: Logits, draws: Sequence[SamplerDraws], scratch: Weights
    ) -> tuple[list[int], list[float]]:
        tokens: list[int] = []
        logprobs: list[float] = []
        for begin in range(0, len(draws), self._rows_at_once):
            end = begin + self._rows_at_once
            rows = logits[begin:end]
            chosen, chosen_logprobs = choose_rows(rows, draws[begin:end], scratch[: len(rows)])
            _mend(chosen, chosen_logprobs, rows, draws[begin:end])
            tokens += chosen.tolist()
            logprobs += chosen_logprobs.tolist()
        return tokens, logprobs


def choose_rows(
    logits: Logits, draws: Sequence[SamplerDraws], scratch: Weights
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Choose one token per row, in one thread; see `Sampler.choose`.

    Args:
        logits: [rows, vocabulary].
        draws: One per row.
        scratch: Memory to work in, [rows, vocabulary rounded up to whole groups], 0 beyond the vocabulary.
    """
    highest = logits.max(axis=1, keepdims=True)
    if not np.isfinite(highest).all():
        raise ModelError("the model computed values that are not numbers; its file may be damaged")
    weights = scratch[:, : logits.shape[1]]
    np.exp(np.subtract(logits, highest, out=weights), out=weights)
    log_totals = np.log(weights.sum(axis=1))
    temperatures = np.array([draw.temperature for draw in draws], np.float32)
    greedy = temperatures == 0
    if greedy.all():
        return logits.argmax(axis=1), -log_totals
    if (temperatures != 1).any():
        np.subtract(logits, highest, out=weights)
        weights /= np.where(greedy, 1, temperatures)[:, None]
        np.exp(weights, out=weights)
    tokens = draw_tokens(scratch, draws)
    if greedy.any():
        tokens[greedy] = logits[greedy].argmax(axis=1)
    return tokens, logits[np.arange(len(tokens)), tokens] - highest[:, 0] - log_totals


def _mend(
    tokens: npt.NDArray[np.intp],
    logprobs: npt.NDArray[np.float32],
    logits: Logits,
    draws: Sequence[SamplerDraws],
) -> None:
    """Choose again, in place, where a mask does not allow the choice; see `SamplerDraws.mask`."""
    for row, draw in enumerate(draws):
        if draw.mask is None or draw.mask.allows(int(tokens[row])):
            continue
        allowed = draw.mask.allowed()
        if len(allowed):  # otherwise the reply cannot continue, and the mask ends it at the first choice
            token = allowed[_choose_among(logits[row, allowed], draw)]
            logprobs[row] += logits[row, token] - logits[row, tokens[row]]
            tokens[row] = token


def _choose_among(logits: Logits, draw: SamplerDraws) -> int:
    """Choose one of a few tokens by their logits, [tokens], and return its index."""
    if draw.temperature == 0:
        return int(logits.argmax())
    weights = np.zeros((1, -(-len(logits) // GROUP) * GROUP), np.float32)
    weights[0, : len(logits)] = np.exp((logits - logits.max()) / draw.temperature)
    return int(draw_tokens(weights, [draw])[0])


def draw_tokens(weights: Weights, draws: Sequence[SamplerDraws]) -> npt.NDArray[np.intp]:
    """Draw one token per row from its nucleus.

    A draw from the whole distribution that falls into the nucleus is a draw from the nucleus; any other is repeated,
    each time without the tokens that are known to lie outside. The nucleus is the smallest set of tokens whose share of
    the weight is at least top-p; among equal tokens, those with the lowest ids belong to it.

    Args:
        weights: Unnormalised probabilities, [rows, a multiple of GROUP]; they may be overwritten.
        draws: One per row.
    """
    tokens, totals = _draw(weights, [draw.random() for draw in draws])
    top_p = np.array([draw.top_p for draw in draws])
    # A token that weighs more than all that the nucleus leaves out is in it: nearly all need no closer look.
    unsure = weights[np.arange(len(tokens)), tokens] <= (1 - top_p) * totals
    for row in np.flatnonzero(unsure).tolist():
        tokens[row] = _insist(weights[row : row + 1], int(tokens[row]), top_p[row] * totals[row], draws[row])
    return tokens


def _insist(weights: Weights, token: int, mass: float, draw: SamplerDraws) -> int:
    """Draw again until the token lies in the nucleus of `mass`, and return it."""
    row = weights[0]
    while True:
        before = mass_before(row, token)
        if row[token] > 0 and (before < mass or before == 0):
            return token
        outside = row <= row[token]
        outside[:token] &= row[:token] < row[token]
        row[outside] = 0
        token = int(_draw(weights, [draw.random()])[0][0])


def mass_before(weights: Weights, token: int) -> float:
    """Return the total weight of the tokens that rank before `token` by weight, then by id.

    Args:
        weights: [vocabulary].
        token: One of them.
    """
    weight = weights[token]
    excess = weights - weight
    np.maximum(excess, 0, out=excess)
    count = int(np.count_nonzero(excess)) + int(np.count_nonzero(weights[:token] == weight))
    return float(excess.sum()) + float(weight) * count


def _draw(
    weights: Weights, uniforms: Sequence[float]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Draw one token per row by its share of the weight; return the tokens and the rows' total weights.

    Tokens are ordered by id, not by rank: near-equal ones that swap ranks in the last bits keep their places.
    """
    rows = np.arange(len(weights))
    groups = weights.reshape(len(weights), -1, GROUP)
    sums = groups.sum(axis=2)
    cumulative = sums.cumsum(axis=1, dtype=np.float64)
    targets = np.array(uniforms) * cumulative[:, -1]
    group = _place(cumulative, targets)
    inside = targets - cumulative[rows, group] + sums[rows, group]
    place = _place(groups[rows, group].cumsum(axis=1, dtype=np.float64), inside)
    return group * GROUP + place, cumulative[:, -1]


def _place(cumulative: npt.NDArray[np.float64], targets: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Return where each row of `cumulative`, [rows, places], first exceeds its target, [rows]."""
    places = (cumulative <= targets[:, None]).sum(axis=1)
    last: npt.NDArray[np.intp] = np.minimum(places, cumulative.shape[1] - 1)
    return last
