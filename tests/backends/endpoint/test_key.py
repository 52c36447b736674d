import json
import sys

import pytest

from lmcot_cli.backends.endpoint.address import Address
from lmcot_cli.backends.endpoint.key import ApiKey, find_key
from lmcot_cli.backends.endpoint.options import EndpointOptions
from lmcot_cli.errors import LmcotError, ModelError, UsageError

HOSTED = Address("https://a.example/v1", "m")
SECRET = "sk-canary-0123456789"


def test_a_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not find_key(HOSTED, EndpointOptions())
    monkeypatch.setenv("OPENAI_API_KEY", f" {SECRET}\n")
    assert find_key(HOSTED, EndpointOptions()).reveal() == SECRET


def test_a_key_command_goes_before_the_environment_and_through_no_shell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "of-the-environment")
    program = f"{sys.executable} -c 'import sys; print(sys.argv[1:])' 'a b' $HOME;ls"
    with pytest.raises(ModelError, match="gives no key"):  # it printed a list, spaces in it
        find_key(HOSTED, EndpointOptions(key_command=program))
    program = f"{sys.executable} -c 'import sys; print(sys.argv[1])' $HOME;ls"
    assert find_key(HOSTED, EndpointOptions(key_command=program)).reveal() == "$HOME;ls"


@pytest.mark.parametrize(
    ("command", "error", "message"),
    [
        ("", UsageError, "empty"),
        ("'torn", UsageError, "no closing quotation"),
        ("no-such-program-here", ModelError, "cannot be run: No such file"),
        ("a\0b", ModelError, "cannot be run"),
        (f"{sys.executable} -c 'exit(3)'", ModelError, "failed with exit status 3"),
        (f"{sys.executable} -c ''", ModelError, "printed no key"),
    ],
)
def test_a_key_command_that_gives_no_key(command: str, error: type[LmcotError], message: str) -> None:
    with pytest.raises(error, match=message):
        find_key(HOSTED, EndpointOptions(key_command=command))


@pytest.mark.parametrize("value", [f"{SECRET}\nX-Header: 1", f"{SECRET}é", "sk canary 0123456789"])
def test_what_cannot_be_a_key_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", value)
    with pytest.raises(ModelError) as caught:
        find_key(HOSTED, EndpointOptions())
    assert "canary" not in str(caught.value)


def test_no_key_goes_over_plain_http_to_another_machine_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    plain = Address("http://10.0.0.5:8000/v1", "m")
    assert not find_key(plain, EndpointOptions())
    assert "--allow-plain-http-key" in find_key(plain, EndpointOptions()).advice
    assert find_key(plain, EndpointOptions(allow_plain_http_key=True)).reveal() == SECRET
    assert find_key(Address("http://127.0.0.1:8000/v1", "m"), EndpointOptions()).reveal() == SECRET


def test_a_key_does_not_show_itself() -> None:
    key = ApiKey(SECRET, "")
    assert SECRET not in f"{key} {key!r} {vars(EndpointOptions)}"
    assert key.redact(f"wrong key {SECRET}!") == "wrong key [key]!"
    assert ApiKey(None, "").redact("as it is") == "as it is"


@pytest.mark.parametrize("value", ["sk-/with+/slashes==", 'sk-"quoted"-\\-canary\\', SECRET])
def test_a_key_is_found_in_json_too(value: str) -> None:
    key = ApiKey(value, "")
    for text in (
        json.dumps({"a": f"Bearer {value}"}),
        json.dumps({"a": f"Bearer {value}"}).replace("/", "\\/"),
        '{"a": "Bearer ' + "".join(f"\\u{ord(char):04X}" for char in value) + '"}',
        '{"a": "Bearer ' + "".join(f"\\u{ord(char):04x}" for char in value) + '"}',
    ):
        assert json.loads(key.redact_bytes(text.encode())) == {"a": "Bearer [key]"}
    assert key.redact(str({"a": value})) in ("{'a': '[key]'}", '{"a": "[key]"}')


def test_a_stand_in_for_a_key_leaves_replies_as_they_are() -> None:
    reply = b'{"text": "the latest film, a test", "logprob": -0.5}'
    for value in ("test", "-", "0", "EMPTY", "sk-1234"):
        assert ApiKey(value, "").redact_bytes(reply) == reply


@pytest.mark.parametrize(
    ("value", "message", "shown"),
    [
        ("test", "Bearer test is bad, the latest 'test'", "Bearer [key] is bad, the latest '[key]'"),
        ("-", "max-tokens: bad key: -", "max-tokens: bad key: [key]"),
        ("x", "unsupported: max_tokens, x.", "unsupported: max_tokens, [key]."),
    ],
)
def test_a_stand_in_for_a_key_leaves_the_words_of_a_message(value: str, message: str, shown: str) -> None:
    assert ApiKey(value, "").redact(message) == shown
