"""What endpoints say of a prompt that is too long, and what is no such thing."""

from __future__ import annotations

import pytest

from lmcot_cli.backends.endpoint.faults import Refusal

SAID = [
    (
        "This model's maximum context length is 4097 tokens. However, you requested 4950 tokens (3926 in the"
        " messages, 1024 in the completion).",
        853 / 4950,
    ),
    ("the request exceeds the available context size, try increasing it", 1 / 3),
    ("prompt is too long: 208310 tokens > 200000 maximum", 8310 / 208310),
    (
        "The input token count (1,200,000) exceeds the maximum number of tokens allowed (1,048,576)",
        151424 / 1200000,
    ),
    (
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097. Given: 4500 `inputs` tokens",
        403 / 4500,
    ),
    (
        "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens.",
        28 / 300,
    ),
    ("too many tokens: total number of tokens in the prompt cannot exceed 4081", 1 / 3),
    ("the model is loaded with context length of only 4096 tokens", 1 / 3),
]


@pytest.mark.parametrize(("message", "share"), SAID)
def test_a_refusal_for_its_length_is_known_and_says_how_much_is_too_much(message: str, share: float) -> None:
    refusal = Refusal(400, message)
    assert refusal.about_length
    assert refusal.too_many_tokens == pytest.approx(share)


@pytest.mark.parametrize(
    "message",
    [
        "max_tokens is too large: 5000. This model supports at most 4096 completion tokens",
        "`max_tokens` (5000) exceeds the model limit of 4096",
        "stop: too many sequences",
        "your input was flagged for violence",
    ],
)
def test_other_refusals_are_none(message: str) -> None:
    assert not Refusal(400, message).about_length
