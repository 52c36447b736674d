"""Turn the bytes of successive tokens into text that ends at a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class StopText:
    """Text that grows token by token.

    A character whose bytes are spread over several tokens appears when its last byte has come; bytes that are
    no UTF-8 become U+FFFD. Bytes of a character that is never finished are left out.

    Args:
        stop: The strings that end the text; they are cut off.
    """

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self._stop = [string for string in stop if string]
        self._longest = max(map(len, self._stop), default=0)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self.text = ""

    def add(self, piece: bytes) -> bool:
        """Add a token's bytes; True if the text has met a stop string and is now complete."""
        unseen = max(len(self.text) - self._longest + 1, 0)  # a stop string may have begun in earlier tokens
        self.text += self._decoder.decode(piece)
        found = [at for string in self._stop if (at := self.text.find(string, unseen)) >= 0]
        if found:
            self.text = self.text[: min(found)]
        return bool(found)
