"""Rendering of prompt templates by Jinja2: ours in this process, those of `--prompts` in the child process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from traceback import walk_tb
from typing import Any

from jinja2 import FunctionLoader, StrictUndefined, TemplateError, TemplateNotFound, TemplateSyntaxError
from jinja2.exceptions import TemplateRuntimeError, UndefinedError
from jinja2.meta import find_referenced_templates
from jinja2.utils import missing

from lmcot_cli.datasets.names import listed
from lmcot_cli.datasets.row import Columns, Paragraph, Row
from lmcot_cli.fence.limits import FaultError, OverLimitError
from lmcot_cli.fence.sandbox import BoundedSandbox, written
from lmcot_cli.prompts.markers import named_markers, quoted_ending

_FAULTS = (
    TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, SyntaxError, TypeError, ValueError,
)  # fmt: skip
"""Exceptions that a template can raise: those of Jinja2, and those of the Python expressions in it."""

Load = Callable[[str], tuple[str, str] | None]
"""Returns a template's source and file by its name; None if it does not exist."""


class MissingColumnError(UndefinedError):
    """A template uses a column that the row does not have."""


class PromptRendering:
    """The templates that `load` returns."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._environment = _PromptSandbox(
            loader=FunctionLoader(lambda name: (*found, None) if (found := load(name)) else None),
            undefined=_Strict,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def render(self, stage: str, row: Row, rationale: str | None, choices: Sequence[str], most: int) -> str:
        """Render one prompt, without white space at its end.

        Args:
            stage: The template's name without `.j2`.
            row: The row.
            rationale: The rationale to answer from.
            choices: The answers that the prompt lists.
            most: The most characters of the prompt.

        Raises:
            FaultError: The template is not valid Jinja2, uses an unknown name or fails.
            OverLimitError: It includes or calls itself endlessly, or writes too much.
        """
        with _told():
            template = self._environment.get_template(f"{stage}.j2")
            return written(template, most, {"row": row, "rationale": rationale, "choices": choices}).rstrip()

    def markers(self, stage: str) -> tuple[str, ...]:
        """Return the markers that the template of a stage asks for; see `Prompts.markers`."""
        sources = self._sources(f"{stage}.j2", [])
        if named := named_markers(
            comment for source in sources for comment in self._parts(source, "comment")
        ):
            return named
        text = "".join(self._parts(sources[0], "data")) if sources else ""
        if stage == "cot":
            ending = quoted_ending(text)
            return (ending,) if ending else ()
        cue = text.rstrip().rpartition("\n")[2].strip()
        return (cue,) if cue.endswith((":", "\uff1a")) else ()

    def _sources(self, name: str, seen: list[str]) -> list[str]:
        """Return the sources of a template and of those that it includes, as far as they can be read."""
        found = self._load(name)
        if found is None or name in seen:
            return []
        try:
            included = find_referenced_templates(self._environment.parse(found[0]))
            names = [other for other in included if other]
        except TemplateError:  # reported when it is rendered
            return []
        seen.append(name)
        return [found[0], *(one for other in names for one in self._sources(other, seen))]

    def _parts(self, source: str, kind: str) -> list[str]:
        return [value for _, found, value in self._environment.lex(source) if found == kind]


class FencedPrompts:
    """The same for the child process, which is sent rows as JSON and asks for sources."""

    def __init__(self, want: Callable[[str], Any]) -> None:
        self._rendering = PromptRendering(lambda name: tuple(found) if (found := want(name)) else None)

    def render(self, row: dict[str, Any], **others: Any) -> str:
        """Render one prompt; see `PromptRendering.render`."""
        return self._rendering.render(row=_row_of(row), **others)

    def markers(self, stage: str) -> list[str]:
        """See `PromptRendering.markers`."""
        return list(self._rendering.markers(stage))


def row_record(row: Row) -> dict[str, Any]:
    """Return a row as a JSON object."""
    record = {name: getattr(row, name) for name in Row.__slots__}
    return record | {"context": [[one.title, one.sentences] for one in row.context]}


def _row_of(record: Mapping[str, Any]) -> Row:
    """Return the row of a record."""
    held: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in record.items()
    }
    held["context"] = tuple(Paragraph(title, tuple(sentences)) for title, sentences in record["context"])
    held["supporting_sentences"] = tuple((place, number) for place, number in record["supporting_sentences"])
    held["extra"] = Columns(record["extra"])
    return Row(**held)


class _Strict(StrictUndefined):
    """A name without a value, which is an error: of the row if it is one of `row.extra`, else of the template."""

    __slots__ = ()

    def __init__(
        self,
        hint: str | None = None,
        obj: Any = missing,
        name: str | None = None,
        exc: type[TemplateRuntimeError] = UndefinedError,
    ) -> None:
        if isinstance(obj, Columns):
            there = listed(obj)
            hint = f"has no other column {name!r} (it has {there}); if it may be missing: | default"
            exc = MissingColumnError
        super().__init__(hint, obj, name, exc)


class _PromptSandbox(BoundedSandbox):
    """A sandbox in which `row.extra.items` is the column of this name, not the method of a mapping."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self.getitem(obj, attribute) if isinstance(obj, Columns) else super().getattr(obj, attribute)


@contextmanager
def _told() -> Iterator[None]:
    """Raise the errors of a template with its file and line."""
    try:
        yield
    except RecursionError as error:
        raise OverLimitError("recursion", _place(error)) from error
    except MemoryError as error:
        raise OverLimitError("memory", _place(error)) from error
    except OverLimitError as error:
        raise OverLimitError(error.excess, _place(error)) from error
    except _FAULTS as error:
        raise FaultError.of(error, _place(error), _reason(error)) from error


def _place(error: Exception) -> str | None:
    """Return the template and line that an error comes from as `FILE:LINE`; None if unknown."""
    if isinstance(error, TemplateSyntaxError):
        return f"{error.filename or error.name}:{error.lineno}"
    frames = [(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)]
    places = [f"{file}:{line}" for file, line in frames if file.endswith(".j2")]
    return places[-1] if places else None


def _reason(error: Exception) -> str:
    if isinstance(error, TemplateNotFound):
        return f"there is no template {error.name!r} in the folder of --prompts, nor among lmcot's own"
    return str(error)
