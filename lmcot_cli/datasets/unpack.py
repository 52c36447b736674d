"""Lists and objects inside a string: as JSON, or as Python prints them (which is what pandas writes to CSV)."""

from __future__ import annotations

import ast
import json
import re
import warnings
from typing import Any

from lmcot_cli.errors import RowError

_BRACKETS = {("[", "]"), ("{", "}")}
_LONGEST_REPR = 2**20
_NUMPY = re.compile(r"""['"]\s+['"]|\barray\(\[""")


def unpacked(text: str) -> Any:
    """Return the list or object that a string encodes, None if it encodes none.

    Raises:
        RowError: It is a list as numpy prints it, whose items cannot be told apart.
    """
    stripped = text.strip()
    if (stripped[:1], stripped[-1:]) not in _BRACKETS:
        return None
    try:
        return json.loads(stripped)
    except (ValueError, RecursionError):
        return _from_repr(stripped)


def unpacked_or_none(text: str) -> Any:
    """Return the list or object that a string encodes; None also for a list as numpy prints it."""
    try:
        return unpacked(text)
    except RowError:
        return None


def _from_repr(text: str) -> Any:
    if text[1:].lstrip()[:1] not in {"'", '"', "[", "(", "{"} or len(text) > _LONGEST_REPR:
        return None
    if _NUMPY.search(text) and ", '" not in text.replace('"', "'"):
        raise RowError(
            "holds a list as numpy prints it, whose items cannot be told apart: save the file as Parquet or JSON"
        )
    try:
        with warnings.catch_warnings(action="ignore"):  # about escapes that Python does not know
            return json.loads(json.dumps(ast.literal_eval(text)))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
