from pathlib import Path
from typing import Any

import pytest

from lmcot_cli.backends.endpoint.options import EndpointOptions
from lmcot_cli.errors import UsageError
from lmcot_cli.settings.declaration import recorded


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"endpoint_api": "responses"}, "--endpoint-api responses: choose one of auto, chat, completions"),
        ({"max_in_flight": 0}, "--max-in-flight 0"),
        ({"max_in_flight": 5000}, "--max-in-flight 5000"),
        ({"rpm": 0}, "--rpm 0"),
        ({"tpm": -1}, "--tpm -1"),
        ({"request_timeout": 0.0}, "--request-timeout 0"),
        ({"total_timeout": float("nan")}, "--total-timeout nan"),
        ({"request_fields": ("a",)}, "--request-field a: write NAME=JSON"),
        ({"request_fields": ("=1",)}, "--request-field =1: write NAME=JSON"),
        ({"request_fields": ("a b=1",)}, "--request-field a b=1: write NAME=JSON"),
        ({"request_fields": ("a.b=1",)}, "--request-field a.b=1: write NAME=JSON"),
        ({"request_fields": ("a=",)}, "--request-field a=: the value is no JSON"),
        (
            {"request_fields": ("a=low",)},
            "--request-field a=low: the value is no JSON; a string is written a='\"low\"'",
        ),
        ({"request_fields": ("a=NaN",)}, "--request-field a=NaN: the value is no JSON"),
        ({"request_fields": ("a={\n",)}, "--request-field a='{\\\\n': the value is no JSON"),
        ({"request_fields": ("a=" + "[" * 100_000,)}, "--request-field a=.*the value is no JSON"),
        ({"request_fields": ("a=" + '"\\ud800"',)}, "the value is no JSON"),
        ({"request_fields": ("a=1", "a=2")}, "--request-field a is given twice"),
        ({"request_fields": ("model=1",)}, "--request-field model: the model spec names the model"),
        ({"request_fields": ("messages=1",)}, "--request-field messages"),
        ({"request_fields": ("stream=true",)}, "--request-field stream: lmcot reads whole replies"),
        ({"request_fields": ("temperature=1",)}, "--request-field temperature: use --temperature"),
        ({"cache": False, "reply_cache": Path("x")}, "exclude each other"),
    ],
)
def test_values_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        EndpointOptions(**changes)


def test_fields_to_add_are_read_as_json() -> None:
    written = ('reasoning_effort="low"', " top_k = 5 ", 'provider={"order": ["a=b"]}')
    options = EndpointOptions(request_fields=written)
    assert options.fields == {"reasoning_effort": "low", "top_k": 5, "provider": {"order": ["a=b"]}}
    assert recorded(options)["request_fields"] == ",".join(written)
