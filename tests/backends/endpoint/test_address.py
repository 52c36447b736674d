import pytest

from lmcot_cli.backends.endpoint.address import Address, parse
from lmcot_cli.errors import ModelSpecError


def test_openai_names_the_hosted_service_or_the_one_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert parse("openai:gpt-5") == Address("https://api.openai.com/v1", "gpt-5")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://models.example/v1/")
    assert parse("openai:gpt-5") == Address("https://models.example/v1", "gpt-5")


def test_the_spec_of_an_address_names_the_same_model_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for spec in ("openai:gpt-5", "http://127.0.0.1:8000/v1#org/model", "https://a.example/v1#m#1"):
        assert parse(spec).spec == spec
    monkeypatch.setenv("OPENAI_BASE_URL", "http://10.0.0.5:8000/v1")
    assert parse("openai:m").spec == "http://10.0.0.5:8000/v1#m"


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://127.8.9.1/v1", True),
        ("http://localhost:1/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://10.0.0.5:8000/v1", False),
        ("http://localhost.evil.example/v1", False),
        ("http://127.0.0.1.evil.example/v1", False),
    ],
)
def test_what_is_on_this_machine(url: str, loopback: bool) -> None:
    assert parse(f"{url}#m").loopback is loopback


@pytest.mark.parametrize(
    "spec",
    [
        *(
            "openai:",
            "http://127.0.0.1:8000/v1",
            "http://127.0.0.1:8000/v1#",
            "https://#m",
            "http://h:port/v1#m",
        ),
        *(
            "http://h:99999/v1#m",
            "http://[::1/v1#m",
            "http://[v1.x]/v1#m",
            "http://h\n/v1#m",
            "http://\x01/v1#m",
        ),
        *("http://\ud800/v1#m", "http://h/\ud800#m", "openai:\ud800", "openai:\x1b[31m", "http:///v1#m"),
    ],
)
def test_a_spec_without_a_host_or_a_model_is_refused(spec: str) -> None:
    with pytest.raises(ModelSpecError):
        parse(spec)


def test_a_spec_with_a_secret_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    for secret in ("https://user:hunter2@a.example/v1#m", "https://a.example/v1?key=hunter2#m"):
        with pytest.raises(ModelSpecError) as caught:
            parse(secret)
        assert "hunter2" not in str(caught.value)
    monkeypatch.setenv("OPENAI_BASE_URL", "https://user:hunter2@a.example:x/v1")
    with pytest.raises(ModelSpecError) as caught:
        parse("openai:m")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "address"),
    [
        ("https://a.example/v1/chat/completions#m", Address("https://a.example/v1", "m", "chat")),
        ("https://a.example/v1/chat/completions/#m", Address("https://a.example/v1", "m", "chat")),
        ("https://a.example/v1/completions#m", Address("https://a.example/v1", "m", "completions")),
        (
            "https://r.example/openai/deployments/d?api-version=2024-10-21#m",
            Address("https://r.example/openai/deployments/d", "m", None, "2024-10-21"),
        ),
        (
            "https://r.example/openai/deployments/d/chat/completions?api-version=2024-10-21",
            Address("https://r.example/openai/deployments/d", "d", "chat", "2024-10-21"),
        ),
        ("https://r.example/openai/v1/?api-version=preview#m",
         Address("https://r.example/openai/v1", "m", None, "preview")),
    ],
)  # fmt: skip
def test_a_url_may_name_its_route_and_azures_version(spec: str, address: Address) -> None:
    assert parse(spec) == address
    assert parse(address.spec) == address


@pytest.mark.parametrize(
    "query", ["api-version=1&key=hunter2", "api-version=hunter2 x", "key=hunter2", "hunter2", "api-version="]
)
def test_any_other_query_is_refused_and_not_repeated(query: str) -> None:
    with pytest.raises(ModelSpecError, match="holds a password, a query") as caught:
        parse(f"https://a.example/v1?{query}#m")
    assert "hunter2" not in str(caught.value)


def test_a_route_of_another_api_is_refused_with_the_one_to_give() -> None:
    with pytest.raises(ModelSpecError, match=r"/responses is another API .* such as https://a.example/v1$"):
        parse("https://a.example/v1/responses#m")
    with pytest.raises(
        ModelSpecError, match=r"/api/chat is another API .* such as http://localhost:11434/v1$"
    ):
        parse("http://localhost:11434/api/chat#m")


@pytest.mark.parametrize(
    ("url", "azure"),
    [
        ("https://r.openai.azure.com/openai/v1", True),
        ("https://r.services.ai.azure.com/models", True),
        ("http://127.0.0.1:1/openai/deployments/d?api-version=1", True),
        ("https://azure.com.evil.example/v1", False),
        ("https://api.openai.com/v1", False),
    ],
)
def test_where_the_key_goes_into_azures_header(url: str, azure: bool) -> None:
    assert parse(f"{url}#m").azure is azure
