"""Constraints as grammars in GBNF, the format of llama.cpp's grammar sampler."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from lmcot_cli.backends.constraint import Choices, Constraint, JsonSchema, Number
from lmcot_cli.backends.llama.library import llama
from lmcot_cli.backends.llama.pattern_ways import has_too_many_ways
from lmcot_cli.backends.masks.base import MOST_BLANKS
from lmcot_cli.errors import UsageError

ROOT = "lmcot-reply"
"""The rule for a whole reply; no property of a schema is likely to have this name."""

_BLANK = rf"[ \t\n]{{0,{MOST_BLANKS}}}"
_ANY = r"[\x00-\U0010FFFF]*"

_DOT = r'[^"\\\x7F\x00-\x1F]'
_MENDED = {
    "char": rf'{_DOT} | "\\" (["\\/bfnrt] | "u" ([0-9a-ce-fA-CE-F] [0-9a-fA-F] | [dD] [0-7])'
    r" [0-9a-fA-F] [0-9a-fA-F])",
    "number": '("-"? integral-part) ("." decimal-part)? ([eE] [-+]? [0-9] [0-9]?)? space',
}
"""Rules of llama_cpp's converter that accept what is not JSON (line ends and half characters in strings), or numbers
that no float holds (1e999)."""

MOST_REPEATED = 1000
"""Maximum repetitions of a part; llama.cpp's parser fails at 2,000."""

_BOUNDS = ("minLength", "maxLength", "minItems", "maxItems")


@lru_cache(64)
def grammar_of(constraint: Constraint) -> str:
    """Return the grammar of the replies that a constraint allows; its first rule is `ROOT`.

    The grammar lets a reply continue after the part that meets the constraint: the mask ends it there.

    Raises:
        UsageError: The schema cannot be made into a grammar.
    """
    match constraint:
        case Choices(texts):
            options = " | ".join(map(_literal, dict.fromkeys(text.strip() for text in texts)))
            return f"{ROOT} ::= {_BLANK} ({options}) ([^0-9A-Za-z] {_ANY})?"
        case Number():
            return f"{ROOT} ::= {_BLANK} [-+]? [0-9]+ ([^0-9] {_ANY})?"
        case JsonSchema(text):
            return f"{ROOT} ::= {_BLANK} root\n{_json_rules(text)}"
    raise TypeError(f"{constraint!r} has no grammar")


def _literal(text: str) -> str:
    escaped = re.sub(r'["\\\r\n\t]', lambda found: f"\\x{ord(found[0]):02X}", text)
    return f'"{escaped}"'


def _json_rules(schema: str) -> str:
    """Return the rules of a schema, `root` among them."""
    llama()
    from llama_cpp.llama_grammar import PRIMITIVE_RULES, SchemaConverter

    converter: Any = SchemaConverter(prop_order={}, allow_fetch=False, dotall=False, raw_pattern=False)
    # The converter's own code for names and constants ignores that a backslash is an escape in GBNF, too.
    converter._format_literal = lambda text: _literal(_in_utf8(text))
    converter._generate_constant_rule = lambda value: _literal(json.dumps(value, ensure_ascii=False))
    try:
        decoded = json.loads(schema)
        _check_bounds(decoded)
        converter.visit(converter.resolve_refs(decoded, "schema"), "")
        rules = converter.format_grammar()
    except (AssertionError, AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        reason = str(error) or type(error).__name__  # the converter checks its input by assertions
        raise UsageError(
            f"--answer json:...: the schema cannot be made into a grammar: {reason};"
            " leave out what it does not support, or run the model elsewhere"
        ) from error
    mended = {rule.content: _MENDED[name] for name, rule in PRIMITIVE_RULES.items() if name in _MENDED}
    parts = (rule.split(" ::= ", 1) for rule in rules.split("\n"))
    return "\n".join(
        f"{name} ::= {_DOT if name == 'dot' else mended.get(content, content)}" for name, content in parts
    )


def _in_utf8(text: str) -> str:
    """Return a JSON string whose escapes of letters are replaced by the letters."""
    return json.dumps(json.loads(text), ensure_ascii=False)


def _check_bounds(schema: Any) -> None:
    """Refuse repetitions that llama.cpp nests so deeply that its parser crashes (between 5,000 and 20,000 levels).

    Raises:
        ValueError: A bound is too high; the message names it.
    """
    if isinstance(schema, list):
        for part in schema:
            _check_bounds(part)
    if isinstance(schema, dict):
        for key, value in schema.items():
            bounds = re.findall("[0-9]+", str(value)) if key in (*_BOUNDS, "pattern") else []
            if any(int(bound) > MOST_REPEATED for bound in bounds):
                raise ValueError(f"{key} {value} repeats something more than {MOST_REPEATED:,} times")
            if key == "pattern" and has_too_many_ways(str(value)):
                raise ValueError(f"pattern {value} can be matched in too many ways: repeat no repetitions")
            _check_bounds(value)
