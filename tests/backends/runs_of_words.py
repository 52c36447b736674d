"""What a copied answer must be, told without a mask."""

from __future__ import annotations

import re

from lmcot_cli.backends.masks.words import edges


def is_run_of_words(span: str, text: str) -> bool:
    """Return whether `span` is a run of whole words of `text`; any white space counts as a space."""
    span, text = " ".join(span.split()), " ".join(text.split())
    if not span:
        return False
    starts, ends = map(set, edges(text))
    places = [match.start() for match in re.finditer(f"(?={re.escape(span)})", text)]
    return any(place in starts and place + len(span) in ends for place in places)
