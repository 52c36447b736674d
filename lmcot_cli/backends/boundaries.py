"""The tokens that begin a text and end a reply, for llama.cpp, transformers, ONNX, training and export alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

# fmt: off
WELL_KNOWN_ENDS = frozenset({
    "<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|end|>", "</s>", "<eos>",
    "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>", "<turn|>", "<|tool_response>", "<EOT>",
    "_<EOT>", "[EOT]", "[EOS]", "[e~[", "<end_of_utterance>", "<\uff5cend\u2581of\u2581sentence\uff5c>",
})
# fmt: on
"""Tokens that end a text in any vocabulary, as in llama.cpp."""

_BETWEEN_CHANNELS = "<|end|>"
_CHANNEL_ENDS = ({"<|return|>", "<|call|>"}, {"<|calls|>", "<|flush|>"})
"""gpt-oss and Solar end a reply with these; their `<|end|>` only ends a channel."""


def begun(tokens: list[int], bos: int | None) -> list[int]:
    """Put the beginning-of-text token in front of a prompt, unless a chat template has written it."""
    return tokens if bos is None or tokens[:1] == [bos] else [bos, *tokens]


def turn_end(following: Sequence[int], marks: Mapping[int, str]) -> int | None:
    """Return the token with which a chat template ends the assistant's turn; None where it is plain text.

    Args:
        following: The tokens that the template writes after a reply; see `ChatTemplate.turn_end`.
        marks: Texts of the vocabulary's tokens that are no words: control tokens and the like.
    """
    return next((token for token in following if marks.get(token, "").strip()), None)


def reply_ends(stated: Iterable[int | None], turn: int | None, own: Mapping[int, str]) -> frozenset[int]:
    """Return all tokens that end a reply.

    Args:
        stated: The tokens that the model's files name.
        turn: The token that ends a turn of its chat template; see `turn_end`.
        own: Texts of the vocabulary's tokens that are no words: control tokens and the like.
    """
    texts = frozenset(own.values())
    known = WELL_KNOWN_ENDS - {_BETWEEN_CHANNELS if any(texts >= ends for ends in _CHANNEL_ENDS) else ""}
    named = {token for token in (*stated, turn) if token is not None}
    return frozenset(named | {token for token, text in own.items() if text in known})
