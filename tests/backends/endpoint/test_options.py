from pathlib import Path
from typing import Any

import pytest

from lmcot_cli.backends.endpoint.options import EndpointOptions
from lmcot_cli.errors import UsageError


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
        ({"cache": False, "reply_cache": Path("x")}, "exclude each other"),
    ],
)
def test_values_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        EndpointOptions(**changes)
