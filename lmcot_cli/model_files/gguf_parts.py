"""The files of a GGUF model that was split: `NAME-00001-of-00003.gguf` and so on, as llama.cpp names and finds them."""

from __future__ import annotations

import re

_PART = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.DOTALL)


def part_names(name: str) -> list[str]:
    """Return the names of all parts of the model that a file is the first part of; of another file its own."""
    match = _PART.fullmatch(name)
    if match is None or int(match["number"]) != 1:
        return [name]
    return [
        f"{match['stem']}-{number:05}-of-{match['count']}.gguf"
        for number in range(1, int(match["count"]) + 1)
    ]
