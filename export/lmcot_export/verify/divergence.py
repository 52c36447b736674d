"""How far two models' distributions over the next token lie apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmcot_cli.backends.sampling import Logits

TIE = 0.01
"""Difference of log-probabilities, in nats, up to which the source has no first choice between two tokens. llama.cpp
takes GELU from a float16 table, so that a sound GPT-2 turns such a tie now and then."""

_CHUNK = 128  # positions held in float64 at once


@dataclass(frozen=True, slots=True)
class Divergence:
    """Figures over positions; `positions` of them.

    Attributes:
        positions: How many positions were compared.
        kl_mean: Mean of KL(source || export), in nats.
        kl_max: The largest, in nats.
        top1: Share of positions where both find the same token likeliest, ties of the source aside.
    """

    positions: int
    kl_mean: float
    kl_max: float
    top1: float


def kl_divergence(source: Logits, exported: Logits) -> NDArray[np.float64]:
    """Return KL(source || export) of every position, [positions], in nats; NaN where an export's logits are.

    Args:
        source: Logits, [positions, vocabulary].
        exported: The same positions of the export.
    """
    parts = [
        _kl(
            source[start : start + _CHUNK].astype(np.float64),
            exported[start : start + _CHUNK].astype(np.float64),
        )
        for start in range(0, len(source), _CHUNK)
    ]
    return np.concatenate(parts)


@dataclass(frozen=True, slots=True)
class TextDivergence:
    """One text's positions; those from `begin` on predict what the source wrote, those before its prompt.

    Attributes:
        kl: KL(source || export), [positions], in nats.
        agreed: Whether both find the same token likeliest, ties of the source aside, [positions].
        begin: Where the prediction of written tokens begins.
    """

    kl: NDArray[np.float64]
    agreed: NDArray[np.bool_]
    begin: int


def compare_logits(source: Logits, exported: Logits, begin: int) -> TextDivergence:
    """Compare the logits of one text, [positions, vocabulary] each; `begin` as in `TextDivergence`."""
    return TextDivergence(kl_divergence(source, exported), first_choices_agree(source, exported), begin)


def first_choices_agree(source: Logits, exported: Logits) -> NDArray[np.bool_]:
    """Tell where the export's likeliest token is the source's, or as likely to the source within `TIE`, [positions].

    Args:
        source: Logits, [positions, vocabulary].
        exported: The same positions of the export.
    """
    theirs = np.take_along_axis(source, exported.argmax(-1)[:, None], -1)[:, 0]
    agreed: NDArray[np.bool_] = source.max(-1) - theirs <= TIE
    return agreed


def everywhere(texts: Sequence[TextDivergence]) -> Divergence:
    """Sum up all positions."""
    return _summary([text.kl for text in texts], [text.agreed for text in texts])


def where_written(texts: Sequence[TextDivergence]) -> Divergence:
    """Sum up the positions that predict what the source wrote."""
    return _summary([text.kl[text.begin :] for text in texts], [text.agreed[text.begin :] for text in texts])


def _summary(kls: Sequence[NDArray[np.float64]], agreements: Sequence[NDArray[np.bool_]]) -> Divergence:
    kl, agreed = np.concatenate(kls), np.concatenate(agreements)
    return Divergence(len(kl), float(kl.mean()), float(kl.max()), float(agreed.mean()))


def _kl(source: NDArray[np.float64], exported: NDArray[np.float64]) -> NDArray[np.float64]:
    p, q = _log_softmax(source), _log_softmax(exported)
    divergence: NDArray[np.float64] = (np.exp(p) * (p - q)).sum(-1)
    return divergence


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(-1, keepdims=True)
    normalised: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return normalised
