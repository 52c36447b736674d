"""A chat template in Jinja2, rendered as transformers does it; `chat` runs this in the fenced process.

A template comes with a model, so it runs in a sandbox. Compiling it counts as running it, because Jinja2 computes
constants in advance.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError, meta, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser

from lmcot_cli.fence.sandbox import BoundedSandbox, written

Message = Mapping[str, str]


class ChatRendering:
    """One template.

    Raises:
        TemplateError: It is not valid Jinja2.
    """

    def __init__(self, source: str, tokens: Mapping[str, str]) -> None:
        environment = _environment()
        self._template = environment.from_string(source)
        self._tree = environment.parse(source)
        self._tokens = tokens

    def render(self, messages: Sequence[Message], settings: Mapping[str, Any], most: int) -> str:
        """Render messages.

        Args:
            messages: The messages.
            settings: Values of other names, such as `add_generation_prompt`.
            most: Maximum characters to write.
        """
        values = {"messages": messages, **settings, **self._tokens}
        return written(self._template, most, values)

    def names(self, compared: str) -> dict[str, list[str]]:
        """Return what is known about a template without rendering it.

        Returns:
            Its variables (`asked`), the strings that it compares `compared` with, and all of its strings.
        """
        # In this order, because looking for variables folds constants.
        found = {"compared": _compared_with(compared, self._tree), "strings": _strings(self._tree)}
        found["asked"] = meta.find_undeclared_variables(self._tree)
        return {name: sorted(values) for name, values in found.items()}


class _GenerationBlock(Extension):
    """Accept `{% generation %}`, which marks the assistant's text for training and has no effect here."""

    tags = {"generation"}  # noqa: RUF012 (declared so in Jinja2)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> BoundedSandbox:
    environment = BoundedSandbox(
        filters={"tojson": _tojson},
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_GenerationBlock, "jinja2.ext.loopcontrols"],
    )
    environment.globals |= {"raise_exception": _raise_exception, "strftime_now": _strftime_now}
    return environment


def _strings(tree: nodes.Node) -> set[str]:
    return {node.value for node in tree.find_all(nodes.Const) if isinstance(node.value, str)}


def _compared_with(name: str, tree: nodes.Node) -> set[str]:
    """Return the strings that a variable is compared with."""
    compares = tree.find_all(nodes.Compare)
    return {
        string
        for compare in compares
        if any(found.name == name for found in compare.find_all(nodes.Name))
        for string in _strings(compare)
    }


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)  # Jinja2's own escapes HTML


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)
