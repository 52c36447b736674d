"""Turn the bytes of successive tokens into text that ends at a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence


class StopText:
    """Text that grows token by token.

    A character whose bytes are spread over several tokens appears when its last byte has come; bytes that are
    no UTF-8 become U+FFFD. Bytes of a character that is never finished are left out.

    Args:
        stop: The strings that end the text; they are cut off.
        enough: See `Sampling.enough`.
    """

    def __init__(self, stop: Sequence[str] = (), enough: Callable[[str], bool] | None = None) -> None:
        self._stop = [string for string in stop if string]
        self._enough = enough
        self._longest = max(map(len, self._stop), default=0)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self.text = ""

    def add(self, piece: bytes) -> bool:
        """Add a token's bytes; True if the text has met a stop string, or is enough."""
        unseen = max(len(self.text) - self._longest + 1, 0)  # a stop string may have begun in earlier tokens
        added = self._decoder.decode(piece)
        self.text += added
        found = [at for string in self._stop if (at := self.text.find(string, unseen)) >= 0]
        if found:
            self.text = self.text[: min(found)]
            return True
        return "\n" in added and self._enough is not None and self._enough(self.text)
