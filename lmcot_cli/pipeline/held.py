"""How much memory the rows hold that are done but wait for an earlier one."""

from __future__ import annotations

from collections.abc import Iterator
from sys import getsizeof

from lmcot_cli.datasets.row import Row
from lmcot_cli.pipeline.journal import Recorded
from lmcot_cli.pipeline.waves import Drawn

MOST_BYTES = 64 * 2**20
"""Most bytes that they may hold: those of about eight thousand questions with ten paragraphs, so that a row that is not
answered for minutes stops no others; it bounds the memory of a run, whatever the length of the input."""

_OF_EACH = 2048
"""Bytes of a row's objects beside its text: a Row, a Drawn, a Sample and the lists between came to 1.4 KiB."""


def held_bytes(item: object, outcome: object) -> int:
    """Estimate the memory that an item and its outcome take."""
    return _OF_EACH + sum(map(getsizeof, _texts_of(item))) + sum(map(getsizeof, _texts_of(outcome)))


def _texts_of(value: object) -> Iterator[str | bytes]:
    """Yield the long parts of a row, a record of an earlier session, or the samples of a row."""
    if isinstance(value, Row):
        yield value.question
        yield value.rationale or ""
        for paragraph in value.context:
            yield paragraph.title
            yield from paragraph.sentences
        if value.extra:
            yield repr(value.extra)
    elif isinstance(value, Recorded):
        yield value.text
    elif isinstance(value, Drawn):
        for sample in value.samples:
            yield from (sample.rationale or "", sample.answer or "")
            yield from (thought.text or "" for thought in sample.thoughts)
            yield from (reply.text for reply in sample.raw)
