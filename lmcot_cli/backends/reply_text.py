"""The text that a model's tokens spell."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence

from lmcot_cli.backends.thinking import Marks, Part, Splitter


class ReplyText:
    """Text that grows token by token: a thought, where the model writes one, and a reply that ends at a stop string.

    A character whose bytes are spread over several tokens appears with its last byte; bytes that are not UTF-8 become
    U+FFFD. The bytes of a character that is never finished are left out.

    Args:
        stop: Strings that end the reply; they are cut off. One with only white space before it ends nothing.
        enough: See `Sampling.enough`.
        opened: The marks of the thought that the prompt has opened.
    """

    def __init__(
        self,
        stop: Sequence[str] = (),
        enough: Callable[[str], bool] | None = None,
        opened: Marks | None = None,
    ) -> None:
        self._stop = [string for string in stop if string]
        self._enough = enough
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self.splitter = Splitter(opened)
        self._end: int | None = None

    @property
    def text(self) -> str:
        """The reply so far, up to the stop string that ended it."""
        return self.splitter.reply[: self._end]

    def add(self, piece: bytes, mark: str = "") -> bool:
        """Add a token, and return whether the reply has met a stop string or is enough.

        Args:
            piece: The token's bytes.
            mark: Its text if it is a control token that may begin or end a thought.
        """
        if mark:
            self.splitter.add_mark(mark)
        added = self._decoder.decode(piece)
        self.splitter.add(added)
        if self.splitter.part is not Part.REPLY:
            return False
        reply = self.splitter.reply
        self._end = self._stop_in(reply)
        if self._end is not None:
            return True
        return "\n" in added and self._enough is not None and self._enough(reply)

    def _stop_in(self, reply: str) -> int | None:
        """Find the first stop string after text that is not blank."""
        begin = len(reply) - len(reply.lstrip()) + 1
        found = [at for string in self._stop if (at := reply.find(string, begin)) >= 0]
        return min(found, default=None)
