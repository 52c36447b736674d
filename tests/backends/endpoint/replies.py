"""Replies of both APIs, and what a fuzzer makes of them."""

from __future__ import annotations

import json
from random import Random
from typing import Any


def chat(**changes: Any) -> dict[str, Any]:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "In France."},
        "finish_reason": "stop",
        "logprobs": {"content": [{"token": "In", "logprob": -0.5}, {"token": " France.", "logprob": -1.5}]},
    }
    return {"choices": [choice | changes], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}


def plain(**changes: Any) -> dict[str, Any]:
    choice = {
        "index": 0,
        "text": "In France.",
        "finish_reason": "length",
        "logprobs": {"token_logprobs": [None, -1.0, -2.0], "tokens": ["", "a", "b"]},
    }
    return {"choices": [choice | changes], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}


ODDITIES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1e308, 2**70, "", "\0", "\x1b[31m", "\u202e", "a" * 10_000),
    *([], {}, [[]], {"": None}, [None] * 50),
)


def mutated(value: Any, random: Random) -> Any:
    """Change one place of a JSON value: another type, a missing key, a doubled element."""
    if isinstance(value, dict) and value and random.random() < 0.8:
        key = random.choice(list(value))
        if random.random() < 0.2:
            return {name: item for name, item in value.items() if name != key}
        return value | {key: mutated(value[key], random)}
    if isinstance(value, list) and value and random.random() < 0.8:
        index = random.randrange(len(value))
        return [*value[:index], mutated(value[index], random), *value[index + random.randrange(2) :]]
    return random.choice(ODDITIES)


def mutated_bytes(body: bytes, random: Random) -> bytes:
    """Cut, overwrite, double or swap some bytes."""
    changed = bytearray(body)
    for _ in range(random.randrange(1, 6)):
        place = random.randrange(len(changed) + 1)
        length = random.randrange(20)
        changed[place : place + random.randrange(length + 1)] = random.choice(
            [b"", random.randbytes(length), bytes(changed[:length]), b"\\ud800", b'"', b"}]"]
        )
    return bytes(changed)


def fuzzed(count: int) -> list[bytes]:
    """Make mutated replies, the same every time."""
    random, bodies = Random(20260301), []
    for number in range(count):
        reply: Any = random.choice([chat, plain])()
        for _ in range(random.randrange(1, 4)):
            reply = mutated(reply, random)
        body = json.dumps(reply).encode()
        bodies.append(body if number % 2 else mutated_bytes(json.dumps(chat()).encode(), random))
    return bodies
