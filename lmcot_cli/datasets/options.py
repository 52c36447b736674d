"""How rows are read, if not by the usual names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from lmcot_cli.datasets.names import Part, Paths
from lmcot_cli.errors import UsageError
from lmcot_cli.settings.declaration import read_names, setting


def parse_fields(text: str) -> tuple[tuple[str, str], ...]:
    """Read `OURS=THEIRS,...`.

    Raises:
        UsageError: A part of it is not such a pair.
    """
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    for ours, equals, theirs in pairs:
        if not (ours.strip() and equals and theirs.strip()):
            raise UsageError(f"--fields {text}: write OURS=THEIRS, such as question=query,context=docs")
    return tuple((ours.strip(), theirs.strip()) for ours, _, theirs in pairs)


def _read_fields(value: str | dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(value.items()) if isinstance(value, dict) else parse_fields(value)


_PANEL = "Data"


@dataclass(frozen=True, slots=True)
class RowOptions:
    """What the user says about the columns of a file.

    `fields` are pairs of our name for a part of a row and the file's name for it: a column, or a path into objects and
    lists such as `answers.text`.

    Raises:
        UsageError: One of our names does not exist or appears twice.
    """

    fields: tuple[tuple[str, str], ...] = setting(
        (),
        "Columns without a usual name: question=q,context=docs,answer=a.b.",
        metavar="OURS=THEIRS,...",
        read=_read_fields,
        in_file=dict[str, str] | str,
        changes_answers=True,
        common=True,
        panel=_PANEL,
    )
    keep_columns: tuple[str, ...] = setting(
        (),
        "Other columns to keep in the output; * for all.",
        metavar="A,B|*",
        read=read_names,
        in_file=list[str] | str,
        changes_answers=True,
        panel=_PANEL,
    )

    def __post_init__(self) -> None:
        ours = [name for name, _ in self.fields]
        for name in ours:
            if name not in get_args(Part):
                raise UsageError(
                    f"--fields {name}=...: there is no {name}; the names are {', '.join(get_args(Part))}"
                )
            if ours.count(name) > 1:
                raise UsageError(f"--fields: {name} appears twice; give one place for it")

    @property
    def paths(self) -> Paths:
        """Return the places by our names."""
        return {part: path for part in get_args(Part) for name, path in self.fields if name == part}


DEFAULT = RowOptions()
"""The usual names, and no other column in the output."""
