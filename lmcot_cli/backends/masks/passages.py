"""Replies that are copied: a run of words of a text (`Span`), or a whole text (`Choices`).

The mask keeps every place in the texts that the reply may have reached. It works on bytes, because a model may spell a
span with other tokens than its tokenizer would.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate

from lmcot_cli.backends.constraint import Choices, Constraint, Span
from lmcot_cli.backends.masks.base import BLANKS, MOST_BLANKS, Mask, TokenSet, blanks_before
from lmcot_cli.backends.masks.lexicon import Lexicon, as_ids
from lmcot_cli.backends.masks.words import edges

_FULL_WIDTH = "\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f"  # of Chinese and Japanese

ENDINGS = tuple(mark.encode() for mark in f"\n.,;:!?{_FULL_WIDTH}")
"""How a model ends a finished reply, besides by an end token: a line end, or punctuation that does not follow in the
text ("Paris." where the text says "Paris is")."""


class Passage:
    """A text that a reply may be copied from.

    Args:
        text: The text; any white space in it counts as one space.
        whole: Whether a reply must be all of it, not a run of its words.

    Attributes:
        data: The text in UTF-8.
        starts: Where a reply may begin, as indices into `data`.
        ends: Where it may end, as indices into `data`.
    """

    def __init__(self, text: str, *, whole: bool) -> None:
        text = text.encode("utf-8", errors="replace").decode()  # lone surrogates are in no vocabulary
        text = text.strip() if whole else " ".join(text.split())
        starts, ends = ([0], [len(text)]) if whole else edges(text)
        offsets = range(len(text) + 1) if text.isascii() else _byte_offsets(text)
        self.data = text.encode()
        self.starts = [offsets[start] for start in starts if text]
        self.ends = frozenset(offsets[end] for end in ends if text)
        self._first: tuple[Lexicon, list[int]] | None = None

    def first_tokens(self, lexicon: Lexicon) -> list[int]:
        """Return the tokens that begin a reply, with or without white space before it; computed once."""
        if self._first is None or self._first[0] is not lexicon:
            beginnings = {self.data[start : start + lexicon.longest] for start in self.starts}
            led = [lead + words for lead in lexicon.leads for words in beginnings]
            self._first = lexicon, list({token for data in led for token in lexicon.beginning(data)})
        return self._first[1]


def _byte_offsets(text: str) -> list[int]:
    return list(accumulate((len(character.encode()) for character in text), initial=0))


@lru_cache(256)
def passage_of(text: str, *, whole: bool) -> Passage:
    """Return the passage of a text; cached, because the samples of a row share its context."""
    return Passage(text, whole=whole)


def passages_of(constraint: Constraint) -> list[Passage]:
    """Return the passages that the replies under a `Choices` or `Span` are copied from."""
    match constraint:
        case Choices(texts):
            return [passage_of(text, whole=True) for text in texts]
        case Span(texts, also):
            parts = [passage_of(text, whole=False) for text in texts]
            return parts + [passage_of(text, whole=True) for text in also]
    raise TypeError(f"{constraint!r} has no passages")


class CopyMask(Mask):
    """Follows a reply that is copied from passages.

    Args:
        passages: What it may be copied from.
        lexicon: The vocabulary.
        stop: Further strings that may end a finished reply.
    """

    __slots__ = ("_blanks", "_endings", "_lexicon", "_passages", "_places", "_whole", "_written")

    def __init__(self, passages: Sequence[Passage], lexicon: Lexicon, stop: Sequence[str] = ()) -> None:
        self._passages = passages
        self._lexicon = lexicon
        self._endings = tuple(dict.fromkeys([*ENDINGS, *(string.encode() for string in stop if string)]))
        self._places: list[tuple[Passage, int]] | None = None  # None before the first word
        self._blanks = 0
        self._written = b""
        self._whole = 0

    @property
    def text(self) -> str:
        """The reply up to the last place where it could end."""
        return self._written[: self._whole].decode()

    def allows(self, token: int) -> bool:
        """Return whether a token continues a passage, or ends a finished reply."""
        piece = self._lexicon.piece(token)
        if piece is None:
            return self._finished
        if self._places is None and blanks_before(piece) == len(piece) > 0:
            return self._blanks + len(piece) <= MOST_BLANKS
        return bool(piece and self._after(piece)) or (self._finished and piece.startswith(self._endings))

    def allowed(self) -> TokenSet:
        """Return the tokens that continue a passage, or end a finished reply."""
        if self._places is None:
            first = [token for passage in self._passages for token in passage.first_tokens(self._lexicon)]
            return self._lexicon.with_few_blanks([*first, *self._lexicon.blanks], MOST_BLANKS - self._blanks)
        tokens = [
            token for passage, at in self._places for token in self._lexicon.beginning(passage.data, at)
        ]
        if self._finished:
            tokens += [*self._lexicon.ends, *self._lexicon.starting_with(self._endings)]
        return as_ids(tokens)

    def accept(self, token: int) -> bool:
        """Take the next token; see `Mask.accept`. A reply ends by itself at the end of its passages."""
        piece = self._lexicon.piece(token)
        if not piece:
            return True
        if self._places is None and blanks_before(piece) == len(piece):
            self._blanks += len(piece)
            return self._blanks > MOST_BLANKS
        after = self._after(piece)
        if not after:
            return True
        self._written += piece if self._places is not None else piece.lstrip(BLANKS)
        self._places = after
        if self._finished:
            self._whole = len(self._written)
        return all(at == len(passage.data) for passage, at in after)

    @property
    def _finished(self) -> bool:
        """Whether the reply could end here."""
        return any(at in passage.ends for passage, at in self._places or ())

    def _after(self, piece: bytes) -> list[tuple[Passage, int]]:
        """Return the places that the reply may have reached after `piece`."""
        if self._places is None:
            blanks = blanks_before(piece)
            if self._blanks + blanks > MOST_BLANKS:
                return []
            piece = piece[blanks:]
            places = [(passage, start) for passage in self._passages for start in passage.starts]
        else:
            places = self._places
        return [(passage, at + len(piece)) for passage, at in places if passage.data.startswith(piece, at)]
