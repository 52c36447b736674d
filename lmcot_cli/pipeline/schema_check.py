"""Whether values fit a JSON schema: plain schemas are checked here, others in the child process, within limits.

A pattern can take for ever on a reply, and a schema that refers to itself can be endless.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from lmcot_cli.errors import SlowPatternError, UsageError
from lmcot_cli.fence.limits import ExceededError, FaultError
from lmcot_cli.fence.process import FencedJob

_PLAIN = frozenset({
    "$comment", "$id", "$schema", "additionalProperties", "const", "default", "deprecated", "description", "enum",
    "examples", "exclusiveMaximum", "exclusiveMinimum", "format", "items", "maximum", "maxItems", "maxLength",
    "maxProperties", "minimum", "minItems", "minLength", "minProperties", "properties", "required", "title", "type",
})  # fmt: skip
"""Keywords of a schema whose check takes time in proportion to the length of the value."""


class SchemaCheck:
    """A check against a schema, which looks nothing up outside the schema."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        from jsonschema.validators import Draft202012Validator, validator_for
        from referencing import Registry

        registry: Registry[Any] = Registry()
        self._validator = validator_for(schema, default=Draft202012Validator)(schema, registry=registry)

    def fits(self, value: Any) -> bool:
        """Whether a value fits."""
        return bool(self._validator.is_valid(value))


class BoundedCheck:
    """The same check, in the child process if it needs limits."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._here = SchemaCheck(schema) if is_plain(schema) else None
        self._job = FencedJob("schema", {"schema": schema})

    def fits(self, value: Any) -> bool:
        """Whether a value fits.

        Raises:
            SlowPatternError: The check takes too long or too much memory, or is endless.
        """
        if self._here:
            return self._here.fits(value)
        try:
            return bool(self._job.call("fits", value=value))
        except (ExceededError, FaultError) as error:
            raise SlowPatternError(
                f"--answer json:...: a reply cannot be checked against the schema: that {_said(error)}"
            ) from error

    def try_out(self) -> None:
        """Check one value of each type.

        Raises:
            UsageError: The schema cannot be used: it refers to itself without end, say.
        """
        if self._here:
            return
        for value in ("", "a" * 40, 0, 1.5, True, None, [], {}, [""], {"a": ""}):
            try:
                self._job.call("fits", value=value)
            except (ExceededError, FaultError) as error:
                raise UsageError(
                    f"--answer json: no value can be checked against the schema: that {_said(error)}"
                ) from error


@lru_cache(8)
def bounded_check(text: str) -> BoundedCheck:
    """Return the check of a schema that is given as JSON; the same one each time."""
    return BoundedCheck(json.loads(text))


def is_plain(schema: Any) -> bool:
    """Whether checking takes time in proportion to the length of the value and the schema."""
    if not isinstance(schema, Mapping):
        return isinstance(schema, bool)
    inner = [schema[key] for key in ("items", "additionalProperties") if key in schema]
    properties = schema.get("properties", {})
    inner += properties.values() if isinstance(properties, Mapping) else [None]
    return schema.keys() <= _PLAIN and all(map(is_plain, inner))


def _said(error: ExceededError | FaultError) -> str:
    return f"{error}; write it more simply" if isinstance(error, ExceededError) else f"fails: {error}"
