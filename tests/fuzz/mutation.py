"""Mutations of bytes without coverage to guide them."""

from __future__ import annotations

from random import Random

TOKENS = [
    b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"\\u0000", b"\\ud800", b"null", b"true", b"1e999", b"-0", b"NaN",
    b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\xf0\x9f\x92\xa9", b"\x1b[2J", b"{{", b"}}", b"{%", b"%}", b"context",
    b"id", b"9" * 400, b"[" * 2000, b"'''", b'"""', b"=", b"#", b"\t", b"\r",
]  # fmt: skip
"""What mutations put in: the punctuation of all formats, numbers and characters that trip readers up."""


def mutated(text: bytes, random: Random) -> bytes:
    """Change a text in one to four places."""
    for _ in range(random.randint(1, 4)):
        start = random.randrange(len(text) + 1)
        end = min(len(text), start + random.choice((0, 0, 1, 1, 4, 20, 200)))
        middle = random.choice(
            (b"", random.choice(TOKENS), random.randbytes(random.randint(1, 3)), text[start:end] * 2)
        )
        text = text[:start] + middle + text[end:]
    return text
