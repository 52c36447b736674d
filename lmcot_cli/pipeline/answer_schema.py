"""Answers in JSON that fit a user's schema (`--answer json:SCHEMA`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from lmcot_cli.backends.constraint import Constraint, JsonSchema
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import SlowPatternError, UsageError
from lmcot_cli.pipeline.json_answers import values
from lmcot_cli.pipeline.schema_check import bounded_check

MAX_BYTES = 2**20
"""The most bytes of a schema; a longer file is surely another one."""


@dataclass(frozen=True, slots=True)
class Json:
    """A JSON value that fits a schema.

    Attributes:
        schema: The schema.
        text: The same as canonical JSON.
    """

    schema: Mapping[str, Any]
    text: str

    @property
    def name(self) -> str:
        """The option with a digest of the schema."""
        return f"json:sha256:{sha256(self.text.encode()).hexdigest()[:16]}"

    def constraint(self, row: Row, rationale: str | None) -> Constraint | None:
        """Return the schema."""
        return JsonSchema(self.text, self.schema)

    def spelling(self, answer: str, row: Row, rationale: str | None) -> str | None:
        """Return the last value in the text that fits; where a string would fit, the text needs no quotes."""
        if value := self.within(answer):
            return value
        return json.dumps(answer, ensure_ascii=False) if self.fits(answer) else None

    def within(self, reply: str) -> str | None:
        """Return the last value in a reply that fits."""
        found = [value for value in values(reply) if self.fits(value)]
        return json.dumps(found[-1], ensure_ascii=False) if found else None

    def fits(self, value: object) -> bool:
        """Whether a value fits the schema.

        Raises:
            SlowPatternError: The check takes too long.
        """
        return bounded_check(self.text).fits(value)

    def has_answer(self, reply: str) -> bool:
        """Whether a reply holds a value that fits, so that it need not continue."""
        try:
            return any(map(self.fits, values(reply)))
        except SlowPatternError:  # reported when the reply is read
            return True


def read_json_kind(source: str) -> Json:
    """Read a schema from the option itself or from a file.

    Raises:
        UsageError: It cannot be read or used.
    """
    schema = _read_schema(source)
    try:
        _check_schema(schema, source)
        text = json.dumps(schema, sort_keys=True, separators=(",", ":"))
    except RecursionError as error:
        raise UsageError("--answer json: the schema is nested too deeply; write it more simply") from error
    bounded_check(text).try_out()
    return Json(schema, text)


def _read_schema(source: str) -> Mapping[str, Any]:
    if not source:
        raise UsageError("--answer json: write json: and a JSON schema, or json: and the file that holds one")
    inline = source.startswith("{")
    try:
        schema = json.loads(source if inline else _read_file(source))
    except OSError as error:
        raise UsageError(f"--answer json:{source}: the schema cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        place = "what follows json:" if inline else source
        raise UsageError(f"--answer json: {place} is not JSON ({error})") from error
    if not isinstance(schema, dict):
        raise UsageError(f'--answer json:{source}: a JSON schema is an object, such as {{"type": "object"}}')
    return schema


def _read_file(source: str) -> str:
    with Path(source).open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise UsageError(
            f"--answer json:{source}: is longer than {MAX_BYTES:,} bytes: is that the right file?"
        )
    return content.decode("utf-8")


def _check_schema(schema: Mapping[str, Any], source: str) -> None:
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for

    try:
        validator_for(schema).check_schema(schema)
        _resolve_all(schema)
    except SchemaError as error:
        place = "/".join(map(str, error.absolute_path)) or "its top"
        raise UsageError(f"--answer json: the schema is not valid at {place}: {error.message}") from error


def _resolve_all(schema: Mapping[str, Any]) -> None:
    """Look up every reference, so that a missing one is reported before the first row."""
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    resolver = Registry().with_resource("", DRAFT202012.create_resource(schema)).resolver()
    for reference in _references(schema):
        try:
            resolver.lookup(reference)
        except Unresolvable as error:
            raise UsageError(
                f"--answer json: the schema refers to {reference}, which is not in it"
            ) from error


def _references(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [one for part in value.values() for one in _references(part)]
    return [one for part in value for one in _references(part)] if isinstance(value, list) else []
