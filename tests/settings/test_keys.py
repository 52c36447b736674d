from __future__ import annotations

from pathlib import Path

import pytest

from lmcot_cli.backends.endpoint.address import Address, parse
from lmcot_cli.backends.endpoint.key import key_source
from lmcot_cli.backends.endpoint.options import EndpointOptions
from lmcot_cli.backends.naming import NamedBy
from lmcot_cli.errors import InputError
from lmcot_cli.settings.file import own_path
from lmcot_cli.settings.keys import own_keys

OPTIONS = EndpointOptions()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    own_path().parent.mkdir()


def keys(text: str) -> None:
    own_path().write_text(f"[keys]\n{text}\n")


@pytest.mark.parametrize(
    ("name", "url", "meant"),
    [
        ("a.example", "https://a.example/v1", True),
        ("A.Example.", "https://a.example/v1", True),
        ("a.example", "https://A.EXAMPLE./v1", True),
        ("a.example", "https://a.example:8443/v1", True),
        ("a.example:443", "https://a.example/v1", True),
        ("a.example:8443", "https://a.example/v1", False),
        ("a.example", "https://b.a.example/v1", False),
        ("a.example", "https://a.example.evil.example/v1", False),
        ("localhost:8000", "http://localhost:8000/v1", True),
        ("localhost:8000", "http://localhost:8001/v1", False),
        ("127.0.0.1", "http://localhost/v1", False),
        ("[::1]:8000", "http://[::1]:8000/v1", True),
        ("[0:0:0:0:0:0:0:1]", "http://[::1]:8000/v1", True),
    ],
)
def test_a_key_is_one_hosts(name: str, url: str, meant: bool) -> None:
    keys(f'"{name}" = {{ env = "ONE" }}')
    assert (key_source(Address(url, "m"), OPTIONS).variable == "ONE") == meant


def test_a_line_with_the_port_goes_before_one_without() -> None:
    keys('"a.example" = { env = "ONE" }\n"a.example:8443" = { env = "TWO" }')
    assert key_source(Address("https://a.example:8443/v1", "m"), OPTIONS).variable == "TWO"
    assert key_source(Address("https://a.example/v1", "m"), OPTIONS).variable == "ONE"
    assert key_source(Address("https://b.example/v1", "m"), OPTIONS).variable == "OPENAI_API_KEY"


def test_a_command_goes_before_what_the_file_says_where_the_command_line_names_the_host() -> None:
    keys('"a.example" = { env = "ONE" }')
    options = EndpointOptions(key_command="cat key")
    assert key_source(parse("https://a.example/v1#m"), options).name == "--key-command"
    assert key_source(parse("https://a.example/v1#m", NamedBy.SETTINGS), options).name == "ONE"
    other = key_source(parse("https://b.example/v1#m", NamedBy.SETTINGS), options)
    assert (other.name, other.command) == ("OPENAI_API_KEY", None)
    assert "--key-command is for hosts that the command line names" in other.advice


def test_what_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    keys('"a.example" = { env = "ONE" }')
    monkeypatch.delenv("ONE", raising=False)
    source = key_source(Address("https://a.example/v1", "m"), OPTIONS)
    assert not source.there
    assert source.advice == f"set ONE, which [keys] in {own_path()} names for a.example"


@pytest.mark.parametrize(
    "line",
    [
        '"https://a.example" = { env = "ONE" }',
        '"a.example/v1" = { env = "ONE" }',
        '"ä.example" = { env = "ONE" }',
        '"a.example" = "ONE"',
        '"a.example" = { env = "sk-a key, not a name" }',
        '"a.example" = { key = "sk-secret" }',
        '"a.example" = { env = "ONE" }\n"A.example" = { env = "TWO" }',
        '"[::zz]" = { env = "ONE" }',
    ],
)
def test_a_wrong_line_is_an_error_that_repeats_no_key(line: str) -> None:
    keys(line)
    with pytest.raises(InputError, match=r"lmcot\.toml: \[keys\] ") as caught:
        own_keys()
    assert "sk-" not in str(caught.value)


@pytest.mark.parametrize("host", ["\u0430pi.openai.com", "a.example\\@b.example", "%61.example", "a b"])
def test_a_host_that_could_be_taken_for_another_is_refused(host: str) -> None:
    from lmcot_cli.errors import ModelSpecError

    with pytest.raises(ModelSpecError):
        parse(f"https://{host}/v1#m")
