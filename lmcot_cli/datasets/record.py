"""One record of an input, or what takes its place if it cannot be read, and the checks of every record."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from lmcot_cli.errors import RowError

NO_UTF8 = "is not UTF-8; to convert a file from an older encoding: iconv -f WINDOWS-1252 -t UTF-8"
JSON = json.JSONDecoder(parse_constant=lambda name: None if name == "NaN" else float(name))
"""Decodes JSON; NaN, which pandas writes for missing values, is null."""

_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True, slots=True)
class Record:
    """One JSON object and its 1-based place (line of a JSONL file, element of an array)."""

    value: dict[str, Any]
    line: int


@dataclass(frozen=True, slots=True)
class BadRow:
    """An input record that cannot be a row.

    Attributes:
        id: The record's own id if it has a usable one, else its line number.
        question: Its question if that can be read.
        line: 1-based place in the input (line of a JSONL file, element of a JSON array).
        error: What is wrong, in one line.
    """

    id: str
    question: str | None
    line: int
    error: RowError

    def located(self, source: str) -> str:
        """Return what is wrong as `SOURCE:LINE: message`."""
        return f"{source}:{self.line}: {self.error}"


def bad_record(line: int, message: str) -> BadRow:
    """Return the `BadRow` for a record that cannot be read."""
    return BadRow(id=str(line), question=None, line=line, error=RowError(message))


def json_reason(error: json.JSONDecodeError) -> str:
    """Return in a few words why something is not JSON."""
    return error.msg.removesuffix(" starting at").removesuffix(" at").lower()


def checked(value: object, text: str, line: int) -> Record | BadRow:
    """Return a decoded value as a record; `text` is the JSON it was decoded from."""
    if not isinstance(value, dict):
        return bad_record(
            line, f"not a JSON object but {json_type(value)}; every row is an object like {{...}}"
        )
    if _ESCAPED_SURROGATE.search(text):  # half a pair is not a character and cannot be written to a file
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            return bad_record(line, "holds an escaped half of a surrogate pair, which is not a character")
    return Record(value, line)


def json_type(value: object) -> str:
    """Return the JSON type of a decoded value, with its article, for a message."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    names = {str: "a string", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)
