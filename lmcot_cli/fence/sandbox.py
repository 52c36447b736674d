"""Jinja2's sandbox with limits on the result of a single operation and on the output.

The system limits the child's memory only on Linux; these limits work everywhere, and name the line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from types import MappingProxyType
from typing import Any

from jinja2 import Template
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from lmcot_cli.fence.limits import OverLimitError

MOST = 2**24
"""Maximum characters, elements or bits of the result of one operation."""

_LARGE = 2**16
"""Maximum widths and counts of a layout."""

_PADDING_FILTERS = ("batch", "center", "indent", "slice", "tojson", "truncate", "wordwrap")
_PADDING_METHODS = frozenset({"center", "expandtabs", "ljust", "rjust", "zfill"})
_FORMATS = frozenset({"format", "format_map"})
_WIDTH = re.compile(r"\d{6,}")
_WIDTH_BESIDE = re.compile(r"%[^%a-zA-Z]*\*|\{[^{}]*\{")


class BoundedSandbox(ImmutableSandboxedEnvironment):
    """The immutable sandbox, in which no operation takes much more memory than its input."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def __init__(
        self, filters: Mapping[str, Callable[..., Any]] = MappingProxyType({}), **options: Any
    ) -> None:
        super().__init__(**options)
        self.filters |= filters
        self.filters["format"] = _measured(self.filters["format"], _check_format)
        for name in _PADDING_FILTERS:
            self.filters[name] = _measured(self.filters[name], lambda _, *given: _check_widths(given))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute `left operator right`, unless the result is too large."""
        if operator == "*":
            _check_product(left, right)
        elif operator == "**":
            _check_power(left, right)
        elif isinstance(left, str | bytes):
            _check_format(left, *(right if isinstance(right, tuple) else (right,)))
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 (as in Jinja2)
        """Call a function of the template, unless its result is too large."""
        method = getattr(__obj, "__wrapped__", __obj)  # Jinja2 has wrapped `format`
        text, name = getattr(method, "__self__", None), getattr(method, "__name__", "")
        if isinstance(text, str) and name in _PADDING_METHODS:
            _check_widths([*args, *kwargs.values()])
        if isinstance(text, str) and name in _FORMATS:
            _check_format(text, *args, *kwargs.values())
        return super().call(__context, __obj, *args, **kwargs)


def written(template: Template, most: int, values: Mapping[str, Any]) -> str:
    """Render a template, and stop once it has written more than so many characters."""
    return "".join(_counted(template.generate(values), most))


def _counted(parts: Iterable[str], most: int) -> Iterator[str]:
    for part in parts:
        most -= len(part)
        if most < 0:
            raise OverLimitError("output")
        yield part


def _measured(function: Callable[..., Any], check: Callable[..., None]) -> Callable[..., Any]:
    """Return a filter that checks its arguments first."""

    @wraps(function)  # includes the mark that makes Jinja2 pass the environment
    def measured(*args: Any, **kwargs: Any) -> Any:
        check(*args, *kwargs.values())
        return function(*args, **kwargs)

    return measured


def _check_product(left: Any, right: Any) -> None:
    for times, repeated in ((left, right), (right, left)):
        if isinstance(times, int) and isinstance(repeated, str | bytes | list | tuple):
            _check(times * len(repeated))
    if isinstance(left, int) and isinstance(right, int):
        _check(left.bit_length() + right.bit_length())


def _check_power(left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int) and right > 0:
        _check(left.bit_length() * right * 64)  # a long number takes more time than room


def _check_format(form: str | bytes, *given: Any) -> None:
    """Refuse to pad to a large width that a format states, or takes from an argument."""
    text = form.decode("latin-1") if isinstance(form, bytes) else form
    _check_widths(int(found[0][:20]) for found in _WIDTH.finditer(text))
    if _WIDTH_BESIDE.search(text):
        _check_widths(given)


def _check_widths(given: Iterable[Any]) -> None:
    if any(isinstance(one, int) and one > _LARGE for one in given):
        raise OverLimitError("memory")


def _check(size: int) -> None:
    if size > MOST:
        raise OverLimitError("memory")
