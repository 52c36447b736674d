"""Render the prompt of a method's stage for one row.

Every template starts with the same instructions, context and question (`_question.j2`); what differs between
methods, stages and samples comes last, so that an engine decodes the shared part once.
Training renders its examples through this module too: there is no second copy of a prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from traceback import extract_tb
from typing import Any

from jinja2 import (
    ChoiceLoader,
    FileSystemLoader,
    PackageLoader,
    StrictUndefined,
    TemplateError,
    TemplateNotFound,
    TemplateSyntaxError,
)
from jinja2.exceptions import TemplateRuntimeError, UndefinedError
from jinja2.meta import find_referenced_templates
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

from lmcot_cli.datasets.names import listed
from lmcot_cli.datasets.row import Columns, Row
from lmcot_cli.errors import InputError, RowError
from lmcot_cli.prompts.markers import named_markers, quoted_ending
from lmcot_cli.prompts.options import Stage

_FAULTS = (TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What a template can raise: its own errors, and those of the Python expressions in it."""


class Prompts:
    """The templates, with those of `overrides` (a folder of files named as ours, `cot.j2` say) taken first.

    Args:
        overrides: The folder.
        choices_of: Gives the answers that a row's prompt lists to choose from (`choices` in a template).

    Raises:
        InputError: The folder does not exist or holds no template of a name we use.
    """

    def __init__(
        self, overrides: Path | None = None, choices_of: Callable[[Row], Sequence[str]] = lambda row: ()
    ) -> None:
        self._choices_of = choices_of
        if overrides:
            _check_folder(overrides)
        folders = [FileSystemLoader(overrides)] if overrides else []
        self._environment = _Environment(
            loader=ChoiceLoader([*folders, PackageLoader("lmcot_cli", "prompts")]),
            undefined=_Strict,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def render(self, stage: Stage, row: Row, rationale: str | None = None) -> str:
        """Render one prompt; it ends in the cue (`Answer:`) without trailing white space.

        Raises:
            InputError: A template of the override folder is not valid Jinja2, uses an unknown name or fails.
            RowError: It uses a column that the row does not have.
        """
        try:
            return (
                self._environment.get_template(f"{stage}.j2")
                .render(row=row, rationale=rationale, choices=self._choices_of(row))
                .rstrip()
            )
        except _MissingColumnError as error:
            place = _place(error) or f"{stage}.j2"
            raise RowError(f"{place}: row {row.id!r} {error}") from error
        except _FAULTS as error:
            raise InputError(f"{_place(error) or f'{stage}.j2'}: {_reason(error)}") from error

    def markers(self, stage: Stage) -> tuple[str, ...]:
        """Return what the template of a stage has the model write before its answer, as far as it says so.

        A Jinja comment names it outright: `{# answer marker: Also lautet die Antwort #}`; there may be several. Without
        one, that of `cot` is the ending that the template quotes (`end with "So the answer is"`), and that of a direct
        answer its last line, the cue (`Antwort:`), which models echo.
        """
        sources = self._sources(f"{stage}.j2")
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

    def _sources(self, name: str) -> list[str]:
        """Return the source of a template and of those that it includes; none of one that cannot be read."""
        assert self._environment.loader is not None
        try:
            source, _, _ = self._environment.loader.get_source(self._environment, name)
            included = find_referenced_templates(self._environment.parse(source))
        except (TemplateError, UnicodeDecodeError):  # told when it is rendered
            return []
        return [
            source,
            *(one for other in included if other and other != name for one in self._sources(other)),
        ]

    def _parts(self, source: str, kind: str) -> list[str]:
        return [value for _, found, value in self._environment.lex(source) if found == kind]

    def digest(self) -> str:
        """Return the SHA-256 (`sha256:...`) over all templates in use: it tells whether two runs asked alike.

        Raises:
            InputError: A template of the override folder is not UTF-8 text.
        """
        loader, digest = self._environment.loader, sha256()
        assert loader is not None
        for name in self._environment.list_templates(extensions=["j2"]):
            try:
                source, _, _ = loader.get_source(self._environment, name)
            except TemplateNotFound:  # a name without a file behind it, such as the lock of an editor
                continue
            except UnicodeDecodeError as error:
                raise InputError(f"{name}: the template is not UTF-8 text") from error
            digest.update(f"{name}\0{source}\0".encode())
        return f"sha256:{digest.hexdigest()}"


class _MissingColumnError(UndefinedError):
    """A template uses a column that the row does not have."""


class _Strict(StrictUndefined):
    """A name without a value, which must not be used; one of `row.extra` is the row's fault, not the template's."""

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
            exc = _MissingColumnError
        super().__init__(hint, obj, name, exc)


class _Environment(ImmutableSandboxedEnvironment):
    """Where `row.extra.items` is the column of this name if there is one, and only else the method of a mapping."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self.getitem(obj, attribute) if isinstance(obj, Columns) else super().getattr(obj, attribute)


def _place(error: Exception) -> str | None:
    """Return the template and line that an error comes from as `FILE:LINE`, None where it names none."""
    if isinstance(error, TemplateSyntaxError):
        return f"{error.filename or error.name}:{error.lineno}"
    frames = [frame for frame in extract_tb(error.__traceback__) if frame.filename.endswith(".j2")]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None


def _reason(error: Exception) -> str:
    if isinstance(error, TemplateNotFound):
        return f"there is no template {error.name!r} in the folder of --prompts, nor among lmcot's own"
    if isinstance(error, RecursionError):
        return "the template includes or calls itself without end"
    return str(error)


def _check_folder(overrides: Path) -> None:
    ours = sorted(PackageLoader("lmcot_cli", "prompts").list_templates())
    if not any((overrides / name).is_file() for name in ours if name.endswith(".j2")):
        names = ", ".join(name for name in ours if name.endswith(".j2"))
        raise InputError(f"{overrides}: no folder with a template to use: name the file as one of {names}")
