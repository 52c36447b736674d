"""JSON objects from a byte stream: one a line, or the elements of one array, in bounded memory.

This module knows nothing of questions; `reader.py` makes rows of its records, `scoring/answers.py` makes
answers of them. Whatever cannot be read comes out in its place as a `BadRow`, and the rows around it go on.
"""

from __future__ import annotations

import codecs
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from lmcot_cli.errors import RowError

MAX_RECORD_BYTES = 16 * 2**20
"""Longest record that is read (bytes of a line, characters of an array element); longer is a `BadRow`."""

_CHUNK_BYTES = 2**16
_SPACE = re.compile(r"[ \t\r\n]*")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_ESCAPED_BYTE = re.compile(r"[\udc80-\udcff]")  # what "surrogateescape" makes of a byte that is not UTF-8
_NO_UTF8 = "is not UTF-8; a file of an older encoding is converted by iconv -f WINDOWS-1252 -t UTF-8"
_JSON = json.JSONDecoder(parse_constant=lambda name: None if name == "NaN" else float(name))
# pandas writes NaN for what is missing


@dataclass(frozen=True, slots=True)
class Record:
    """One JSON object and its 1-based place (line of a JSONL file, element of an array)."""

    value: dict[str, Any]
    line: int


@dataclass(frozen=True, slots=True)
class BadRow:
    """An input record that makes no row.

    Attributes:
        id: The record's own id where it has a usable one, else its line number.
        question: Its question where that can be read.
        line: 1-based place in the input (line of a JSONL file, element of a JSON array).
        error: What is wrong, in one line.
    """

    id: str
    question: str | None
    line: int
    error: RowError

    def located(self, source: str) -> str:
        """Say what is wrong as `SOURCE:LINE: message`."""
        return f"{source}:{self.line}: {self.error}"


def read_records(stream: BinaryIO, max_bytes: int = MAX_RECORD_BYTES) -> Iterator[Record | BadRow]:
    """Read JSON objects; blank lines are skipped, a byte order mark too.

    An input whose first character is `[` is one JSON array, anything else is JSONL. Where an array breaks off
    or stops being JSON, one `BadRow` says so and nothing after it is read.
    """
    blank_lines, first = _skip_blank(stream)
    if first == b"[":
        yield from _ArrayReader(stream, max_bytes).records()
    else:
        yield from _read_lines(stream, first, blank_lines, max_bytes)


def _bad(line: int, message: str) -> BadRow:
    return BadRow(id=str(line), question=None, line=line, error=RowError(message))


def _skip_blank(stream: BinaryIO) -> tuple[int, bytes]:
    """Read up to the first byte that matters; return the line ends before it, and it (empty at the end)."""
    first = stream.read(1)
    if first == codecs.BOM_UTF8[:1]:
        first += stream.read(1) + stream.read(1)
        if first == codecs.BOM_UTF8:
            first = stream.read(1)
    line_ends = 0
    while first.isspace():
        line_ends += first == b"\n"
        first = stream.read(1)
    return line_ends, first


def _read_lines(stream: BinaryIO, first: bytes, line: int, max_bytes: int) -> Iterator[Record | BadRow]:
    """Read JSONL of which `first` has been read, after `line` blank lines."""
    while data := first + stream.readline(max_bytes + 1 - len(first)):
        first = b""
        line += 1
        if len(data) > max_bytes and not data.endswith(b"\n"):
            _skip_line(stream)
            yield _bad(line, f"the line is longer than {max_bytes:,} bytes")
        elif data.strip():
            yield _parse_line(data, line)


def _skip_line(stream: BinaryIO) -> None:
    while (piece := stream.readline(_CHUNK_BYTES)) and not piece.endswith(b"\n"):
        pass


def _parse_line(data: bytes, line: int) -> Record | BadRow:
    try:
        text = data.decode("utf-8")
        return _checked(_JSON.decode(text), text, line)
    except UnicodeDecodeError as error:
        return _bad(line, f"byte {error.start + 1} of the line ({data[error.start]:#04x}) {_NO_UTF8}")
    except json.JSONDecodeError as error:
        return _bad(line, f"not valid JSON: {_reason(error)} (column {error.colno}); write one object a line")
    except RecursionError:
        return _bad(line, "the JSON is nested too deeply")
    except ValueError:  # json's own error is caught above: what is left is Python's limit on digits
        return _bad(line, "holds a number with too many digits")


def _reason(error: json.JSONDecodeError) -> str:
    return error.msg.removesuffix(" starting at").removesuffix(" at").lower()


def _checked(value: object, text: str, line: int) -> Record | BadRow:
    """Make a record of a decoded value; `text` is the JSON it was decoded from."""
    if not isinstance(value, dict):
        return _bad(line, f"not a JSON object but {json_type(value)}; every row is an object like {{...}}")
    if _ESCAPED_SURROGATE.search(text):  # half a pair is no character, and no file could be written with it
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            return _bad(line, "holds an escaped half of a surrogate pair, which is no character")
    return Record(value, line)


def json_type(value: object) -> str:
    """Name the JSON type of a decoded value, with its article, for an error message."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    names = {str: "a string", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)


class _ArrayReader:
    """Decode the elements of a JSON array from a moving window of its text.

    The window starts at the element that is being read and holds at most `max_chars` characters. It grows by
    doubling until that element is whole, so that even a long one is decoded a few times only.
    Bytes that are not UTF-8 are carried along escaped: they spoil their own element and no other.
    """

    def __init__(self, stream: BinaryIO, max_chars: int) -> None:
        """Start after the opening bracket, which has been read from `stream`."""
        self._stream, self._max_chars = stream, max_chars
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._window, self._at = "", 0

    def records(self) -> Iterator[Record | BadRow]:
        """Yield the elements, then a `BadRow` if the array does not end as it should."""
        if self._next_character() == "]":
            yield from self._end(1)
            return
        for line in itertools.count(1):
            try:
                value, end = self._decode_element()
            except (ValueError, RecursionError) as error:
                yield _bad(line, self._broken(error))
                return
            yield self._element(value, self._window[self._at : end], line)
            self._at = end
            if self._next_character() != ",":
                yield from self._end(line + 1)
                return
            self._at += 1

    def _decode_element(self) -> tuple[Any, int]:
        """Decode the element that starts at or after the current place; return it and its end in the window.

        Raises:
            ValueError: It is not JSON, breaks off or is longer than the window may grow.
            RecursionError: It is nested too deeply.
        """
        while True:
            self._next_character()
            try:
                value, end = _JSON.raw_decode(self._window, self._at)
            except json.JSONDecodeError:
                if not self._grow():
                    raise
            else:
                # Without a delimiter after it, "12" may be the start of "12.5": look further first.
                after = _SPACE.match(self._window, end)
                assert after is not None
                if self._window[after.end() : after.end() + 1] in (",", "]") or not self._grow():
                    return value, end

    def _next_character(self) -> str:
        """Move past white space; return the character there, empty at the end of the input."""
        while True:
            space = _SPACE.match(self._window, self._at)
            assert space is not None
            self._at = space.end()
            if self._at < len(self._window):
                return self._window[self._at]
            if not self._grow():
                return ""

    def _grow(self) -> bool:
        """Drop what has been consumed and read on; False at the end of the input or of the room."""
        held = len(self._window) - self._at
        room = self._max_chars - held
        if room <= 0:
            return False
        data = self._stream.read(min(room, max(_CHUNK_BYTES, held)))
        text = self._decoder.decode(data, final=not data)
        if data or text:
            self._window, self._at = self._window[self._at :] + text, 0
        return bool(data or text)

    def _element(self, value: object, text: str, line: int) -> Record | BadRow:
        if not text.isascii() and (escaped := _ESCAPED_BYTE.search(text)):
            place = len(text[: escaped.start()].encode("utf-8", "surrogateescape")) + 1
            byte = ord(escaped[0]) - 0xDC00
            return _bad(line, f"byte {place} of this element ({byte:#04x}) {_NO_UTF8}")
        try:
            return _checked(value, text, line)
        except RecursionError:
            return _bad(line, "the JSON is nested too deeply")

    def _broken(self, error: Exception) -> str:
        """Say why no further element can be decoded."""
        rest = "; nothing after this is read"
        if isinstance(error, RecursionError):
            return "the JSON is nested too deeply" + rest
        if not isinstance(error, json.JSONDecodeError):
            return "holds a number with too many digits" + rest
        if len(self._window) - self._at >= self._max_chars:
            return f"the element is longer than {self._max_chars:,} characters or not JSON" + rest
        if error.msg.startswith("Unterminated") or error.pos >= len(self._window.rstrip()):
            return "the JSON array breaks off here: is the file cut short?"
        place = error.pos - self._at + 1
        return f"not valid JSON: {_reason(error)} (character {place} of this element){rest}"

    def _end(self, line: int) -> Iterator[BadRow]:
        """Check that the array is closed here, where no comma is, and that nothing follows it."""
        character = self._next_character()
        if not character:
            yield _bad(line, "the JSON array ends without its closing bracket: is the file cut short?")
        elif character != "]":
            yield _bad(line, f"found {character!a}, not a comma or closing bracket; the rest is not read")
        else:
            self._at += 1
            if self._next_character():
                yield _bad(line, "there is text after the end of the JSON array; it is not read")
