"""Mutations of bytes, and of the values of JSON, without coverage to guide them."""

from __future__ import annotations

import json
from random import Random
from typing import Any

TOKENS = [
    b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"\\u0000", b"\\ud800", b"null", b"true", b"1e999", b"-0", b"NaN",
    b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\xf0\x9f\x92\xa9", b"\x1b[2J", b"{{", b"}}", b"{%", b"%}", b"context",
    b"id", b"9" * 400, b"[" * 2000, b"'''", b'"""', b"=", b"#", b"\t", b"\r",
]  # fmt: skip
"""What mutations put in: the punctuation of all formats, numbers and characters that trip readers up."""


ODD = (
    None, True, 0, -1, 2**70, 1.5, 1e300, "", "x", "\n", "9" * 400, [], {}, [None], ["x"], [[]], {"a": 1}, {"text": []},
)  # fmt: skip
"""What stands in the place of a value."""


def mutated(text: bytes, random: Random) -> bytes:
    """Change a text in one to four places, or a value of the JSON in it."""
    if random.random() < 0.5 and (other := restructured(text, random)) is not None:
        return other
    for _ in range(random.randint(1, 4)):
        start = random.randrange(len(text) + 1)
        end = min(len(text), start + random.choice((0, 0, 1, 1, 4, 20, 200)))
        middle = random.choice(
            (b"", random.choice(TOKENS), random.randbytes(random.randint(1, 3)), text[start:end] * 2)
        )
        text = text[:start] + middle + text[end:]
    return text


def restructured(text: bytes, random: Random) -> bytes | None:
    """Put an odd value in the place of another in one of the lines; None where that is no JSON."""
    lines = text.split(b"\n")
    at = random.randrange(len(lines))
    try:
        lines[at] = json.dumps(_changed(json.loads(lines[at]), random)).encode()
    except (ValueError, RecursionError):
        return None
    return b"\n".join(lines)


def _changed(value: Any, random: Random) -> Any:
    if not isinstance(value, dict | list) or not value or random.random() < 0.15:
        return random.choice(ODD)
    place = random.choice(list(value) if isinstance(value, dict) else range(len(value)))
    if random.random() < 0.1:
        del value[place]
    else:
        value[place] = _changed(value[place], random)
    return value
