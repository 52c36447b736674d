"""JSON values that span many lines, decoded one by one from a moving window of text.

They are an array, the list in an object, or objects one after the other as `jq` prints them.
"""

from __future__ import annotations

import codecs
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from lmcot_cli.datasets.names import part_of
from lmcot_cli.datasets.record import (
    JSON,
    NO_UTF8,
    BadRow,
    Record,
    bad_record,
    checked,
    json_reason,
)

CHUNK_BYTES = 2**16
_SPACE = re.compile(r"[ \t\r\n]*")
_LIST_NAMES = ("data", "rows", "examples")
_SIMPLE = r'"[^"\\]*"|[-+.\w]+|\{[^{}\[\]]*\}|\[[^{}\[\]]*\]'
_LIST_WITHIN = re.compile(
    rf'\{{\s*(?P<before>(?:"[^"\\]*"\s*:\s*(?:{_SIMPLE})\s*,\s*)*)"(?:{"|".join(_LIST_NAMES)})"\s*:\s*\[\s*(?=\{{|\Z)'
)
"""An object up to its list of rows, with only small values before it."""
_KEY = re.compile(r'"([^"\\]*)"\s*:')
_ESCAPED_BYTE = re.compile(r"[\udc80-\udcff]")  # what "surrogateescape" makes of a byte that is not UTF-8


class ArrayReader:
    """Decode the elements of a JSON array from a moving window of its text.

    The window starts at the current element and holds at most `max_chars` characters. It doubles until that element is
    whole, so that even a long one is decoded only a few times. Bytes that are not UTF-8 are kept escaped: they spoil
    only their own element.
    """

    def __init__(self, stream: BinaryIO, max_chars: int, held: bytes = b"") -> None:
        """Start after the opening bracket, which has been read from `stream` together with `held` after it."""
        self._stream, self._max_chars = stream, max_chars
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._window, self._at = self._decoder.decode(held), 0

    def records(self) -> Iterator[Record | BadRow]:
        """Yield the elements, then a `BadRow` if the array does not end properly."""
        if self._next_character() == "]":
            yield from self._end(1)
            return
        for line in itertools.count(1):
            try:
                value, end = self._decode_element()
            except (ValueError, RecursionError) as error:
                yield bad_record(line, self._broken(error))
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
            ValueError: It is not JSON, breaks off, or is longer than the window may become.
            RecursionError: It is nested too deeply.
        """
        while True:
            self._next_character()
            try:
                value, end = JSON.raw_decode(self._window, self._at)
            except json.JSONDecodeError:
                if not self._grow():
                    raise
            else:
                # Without a delimiter after it, "12" may be the start of "12.5": read on first.
                after = _SPACE.match(self._window, end)
                assert after is not None
                delimited = self._window[after.end() : after.end() + 1] in (",", "]", "}", ":")
                if delimited or isinstance(value, dict) or not self._grow():
                    return value, end

    def _next_character(self) -> str:
        """Skip white space and return the next character, empty at the end of the input."""
        while True:
            space = _SPACE.match(self._window, self._at)
            assert space is not None
            self._at = space.end()
            if self._at < len(self._window):
                return self._window[self._at]
            if not self._grow():
                return ""

    def _grow(self) -> bool:
        """Drop what has been consumed and read on; return False at the end of the input or if the window is full."""
        held = len(self._window) - self._at
        room = self._max_chars - held
        if room <= 0:
            return False
        data = self._stream.read(min(room, max(CHUNK_BYTES, held)))
        text = self._decoder.decode(data, final=not data)
        if data or text:
            self._window, self._at = self._window[self._at :] + text, 0
        return bool(data or text)

    def _element(self, value: object, text: str, line: int) -> Record | BadRow:
        if not text.isascii() and (escaped := _ESCAPED_BYTE.search(text)):
            place = len(text[: escaped.start()].encode("utf-8", "surrogateescape")) + 1
            byte = ord(escaped[0]) - 0xDC00
            return bad_record(line, f"byte {place} of this element ({byte:#04x}) {NO_UTF8}")
        try:
            return checked(value, text, line)
        except RecursionError:
            return bad_record(line, "the JSON is nested too deeply")

    def _broken(self, error: Exception) -> str:
        """Return why no further element can be decoded."""
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
        return f"not valid JSON: {json_reason(error)} (character {place} of this element){rest}"

    def _end(self, line: int) -> Iterator[BadRow]:
        """Check that the array is closed here, and that nothing follows it."""
        character = self._next_character()
        if not character:
            yield bad_record(line, "the JSON array ends without its closing bracket: is the file cut short?")
        elif character != "]":
            yield bad_record(
                line, f"found {character!a}, not a comma or closing bracket; the rest is not read"
            )
        else:
            self._at += 1
            if self._next_character():
                yield bad_record(line, "there is text after the end of the JSON array; it is not read")


def begins_documents(line: bytes) -> bool:
    """Return whether a first line begins an object of several lines or a list, instead of one object per line.

    A complete line with a list and a question beside it is a row.
    """
    if line.strip() == b"{":
        return True
    text = line.decode("utf-8", "surrogateescape").strip()
    if not _begins_list(text):
        return False
    try:
        return _list_within(JSON.decode(text)) is not None
    except (ValueError, RecursionError):
        return True


def _begins_list(text: str, at: int = 0) -> re.Match[str] | None:
    found = _LIST_WITHIN.match(text, at)
    asks = found and any(part_of(key) == "question" for key in _KEY.findall(found["before"]))
    return None if asks else found


def _list_within(value: object) -> list[Any] | None:
    """Return the list of rows that an object holds under a usual name; None if the object is a row."""
    if not isinstance(value, dict) or any(part_of(key) == "question" for key in value):
        return None
    lists = [value[name] for name in _LIST_NAMES if isinstance(value.get(name), list)]
    return next((one for one in lists if one and all(isinstance(item, dict) for item in one)), None)


class DocumentReader(ArrayReader):
    """Decode objects of several lines one after the other, or the elements of the list in the first one."""

    def records(self) -> Iterator[Record | BadRow]:
        """Yield the objects, then a `BadRow` if the last one does not end properly."""
        if self._enter_list():
            yield from super().records()
            return
        line = 0
        while character := self._next_character():
            line += 1
            if character != "{":
                yield bad_record(
                    line, f"found {character!a} where an object should begin; the rest is not read"
                )
                return
            try:
                value, end = self._decode_element()
            except (ValueError, RecursionError) as error:
                yield bad_record(line, self._broken(error).replace("JSON array", "JSON"))
                return
            text, self._at = self._window[self._at : end], end
            elements = _list_within(value)
            for place, element in enumerate(elements or [value], line):
                yield self._element(element, text, place)
            line += len(elements or [value]) - 1

    def _enter_list(self) -> bool:
        """Move into the list of rows if the object begins with one; return whether it does."""
        while True:
            self._next_character()
            if found := _begins_list(self._window, self._at):
                self._at = found.end()
                return True
            try:
                JSON.raw_decode(self._window, self._at)
            except (ValueError, RecursionError):
                if self._window[self._at : self._at + CHUNK_BYTES + 1][CHUNK_BYTES:] or not self._grow():
                    return False
            else:
                return False

    def _end(self, line: int) -> Iterator[BadRow]:
        """Check that the list is closed here, and the object around it after that."""
        if self._next_character() != "]":
            yield from super()._end(line)
            return
        self._at += 1
        try:
            closed = self._skip_members()
        except (ValueError, RecursionError):
            closed = False
        if not closed:
            yield bad_record(
                line, "the JSON object around the list does not end properly: is the file cut short?"
            )

    def _skip_members(self) -> bool:
        """Skip the rest of the object around the list; return whether it ends and nothing follows."""
        while self._next_character() == ",":
            self._at += 1
            for expected in (":", ",}"):
                _, self._at = self._decode_element()
                if self._next_character() not in expected:
                    return False
                self._at += expected == ":"
        closed = self._next_character() == "}"
        self._at += 1
        return closed and not self._next_character()
