from __future__ import annotations

import json
import time

import pytest

from lmcot_cli.errors import SlowPatternError, UsageError
from lmcot_cli.pipeline.answer_schema import read_json_kind
from lmcot_cli.pipeline.schema_check import is_plain

DOUBLING = {f"a{i}": {"allOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(30)} | {"a30": {}}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"anyOf": [{"$ref": "#"}]},
        {"$defs": DOUBLING, "$ref": "#/$defs/a0"},
        {"type": "string", "pattern": "^(a+)+b$"},
    ],
    ids=["itself", "in a choice", "doubling", "a pattern"],
)
def test_a_schema_that_no_value_can_be_checked_against_is_told_before_the_first_row(
    schema: dict[str, object],
) -> None:
    with pytest.raises(
        UsageError, match=r"no value can be checked against the schema: that (takes|includes)"
    ):
        read_json_kind(json.dumps(schema))


def test_a_pattern_that_takes_for_ever_on_a_reply_is_that_rows_error() -> None:
    kind = read_json_kind('{"type": "string", "pattern": "^boom(a+)+$"}')
    assert kind.within('"boomaa"') == '"boomaa"'
    began = time.monotonic()
    with pytest.raises(
        SlowPatternError, match="a reply cannot be checked against the schema: that takes more than"
    ):
        kind.within('"boom' + "a" * 60 + '!"')
    assert time.monotonic() - began < 20
    assert kind.has_answer('"boom' + "a" * 60 + '!"')
    assert kind.within('"boomaa"') == '"boomaa"'


def test_a_schema_nested_without_end_is_one_line() -> None:
    with pytest.raises(UsageError, match="nested too deeply"):
        read_json_kind('{"items":' * 400 + "{}" + "}" * 400)


def test_plain_schemas_are_checked_without_another_process() -> None:
    plain = {
        "type": "object",
        "properties": {"pattern": {"type": "array", "items": {"enum": [1]}}},
        "required": ["a"],
    }
    assert is_plain(plain)
    assert is_plain(plain | {"additionalProperties": False})
    assert not is_plain({"properties": {"a": {"pattern": "x"}}})
    assert not is_plain({"items": {"$ref": "#"}})
    assert not is_plain({"items": [{"pattern": "x"}]})
    assert not is_plain({"uniqueItems": True})
