"""What the environment brings to the client."""

from __future__ import annotations

import pytest

from lmcot_cli.backends.endpoint.address import Address
from lmcot_cli.backends.endpoint.client import Client
from lmcot_cli.backends.endpoint.key import ApiKey
from lmcot_cli.backends.endpoint.options import EndpointOptions
from lmcot_cli.errors import ModelError


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SSL_CERT_FILE", "/nonexistent"),
        ("OPENAI_PROJECT_ID", "é"),
        ("OPENAI_ORG_ID", "a\nb"),
    ],
)
def test_an_environment_that_no_client_can_be_made_with_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ModelError, match=rf"no client can be made \(.*look at .*{variable[:6]}"):
        Client(Address("https://127.0.0.1:1/v1", "m"), ApiKey(None, ""), EndpointOptions())
