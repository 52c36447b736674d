"""How rows are read, where that is not left to the usual names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, get_args

from lmcot_cli.datasets.names import Part, Paths
from lmcot_cli.errors import UsageError


@dataclass(frozen=True, slots=True)
class RowOptions:
    """What a user says about the columns of a file.

    Attributes:
        fields: Where rows have what: pairs of our name for it and theirs. Theirs is a column, or a path into objects
            and lists such as `answers.text`.
        keep_columns: Other columns that are wanted in the output; `*` stands for all.

    Raises:
        UsageError: A name of ours that there is not, or one that stands twice.
    """

    fields: tuple[tuple[str, str], ...] = ()
    keep_columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        ours = [name for name, _ in self.fields]
        for name in ours:
            if name not in get_args(Part):
                raise UsageError(
                    f"--fields {name}=...: there is no {name}; ours are {', '.join(get_args(Part))}"
                )
            if ours.count(name) > 1:
                raise UsageError(f"--fields: {name} stands there twice; give one place for it")

    @classmethod
    def parse(cls, fields: str | None) -> Self:
        """Read `OURS=THEIRS,...` as it is typed.

        Raises:
            UsageError: A part of it is no pair, or names nothing of ours.
        """
        return cls(parse_fields(fields or ""))

    @property
    def paths(self) -> Paths:
        """Return the places by our names."""
        return {part: path for part in get_args(Part) for name, path in self.fields if name == part}


def parse_fields(text: str) -> tuple[tuple[str, str], ...]:
    """Read `OURS=THEIRS,...`.

    Raises:
        UsageError: A part of it is no pair.
    """
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    for ours, equals, theirs in pairs:
        if not (ours.strip() and equals and theirs.strip()):
            raise UsageError(f"--fields {text}: write OURS=THEIRS, such as question=query,context=docs")
    return tuple((ours.strip(), theirs.strip()) for ours, _, theirs in pairs)


DEFAULT = RowOptions()
"""The usual names, and no other column in the output."""
