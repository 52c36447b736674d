"""What is found before any row is read, and what is said of it, in one line."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.endpoint import backoff
from lmcot_cli.backends.endpoint.backend import EndpointBackend
from lmcot_cli.errors import ModelError

Serve = Callable[..., Any]
Connect = Callable[..., EndpointBackend]

SECRET = "sk-canary-0123456789"
GOOD = b'{"choices": [{"message": {"content": "yes"}, "text": "yes", "finish_reason": "stop"}]}'


def said(connect: Connect, *arguments: Any, **options: Any) -> str:
    """Return what is wrong with an endpoint."""
    with pytest.raises(ModelError) as caught:
        connect(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def models(*names: str) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, json.dumps({"data": [{"id": name} for name in names]}).encode()


def test_an_address_where_nothing_answers(connect: Connect) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    assert said(connect, url) == (
        f"nothing answers at {url} (connection refused): is the server running, and the address right?"
    )
    assert "nothing answers at http://no-such-host.invalid/v1" in said(
        connect, "http://no-such-host.invalid/v1"
    )


def test_a_key_that_is_missing_or_refused(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = serve(key="right").url
    assert said(connect, url) == (
        f"{url} refused the key (401): set OPENAI_API_KEY, or name a command that prints the key: --key-command CMD"
    )
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    assert said(connect, url) == (
        f"{url} refused the key (401): check the key of OPENAI_API_KEY: is it of this endpoint, and still valid?"
    )
    connect(url, key_command="echo right")


def test_a_key_that_only_the_model_asks_for(answering: Callable[..., str], connect: Connect) -> None:
    url = answering(lambda path, headers, body: models("m") if "models" in path else (401, {}, b"{}"))
    assert "refused the key (401)" in said(connect, url)


def test_a_model_that_is_not_there(serve: Serve, connect: Connect, answering: Callable[..., str]) -> None:
    assert said(connect, serve().url, "nother").endswith("lists no model 'nother'; near ones are 'another'")
    many = answering(lambda *_: models(*(f"model-{number}" for number in range(8))))
    assert said(connect, many, "zzz").endswith(
        "lists no model 'zzz'; it has 'model-0', 'model-1', 'model-2', 'model-3', 'model-4', and 3 more"
    )


def test_an_endpoint_without_a_list_is_asked_for_a_few_words(
    connect: Connect, answering: Callable[..., str]
) -> None:
    asked = list[str]()

    def answer(path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        asked.append(path)
        return (
            (200, {}, GOOD) if path == "/v1/completions" else (404, {}, b'{"error": {"message": "no route"}}')
        )

    connect(answering(answer))
    assert asked == ["/v1/models", "/v1/chat/completions", "/v1/completions"]


def test_an_endpoint_that_has_neither(connect: Connect, answering: Callable[..., str]) -> None:
    url = answering(lambda *_: (404, {}, b'{"error": {"message": "no route"}}'))
    assert said(connect, url) == (
        f"{url} does not answer a test request to 'm': the endpoint answered 404: no route"
    )
    bare = url.removesuffix("/v1")
    assert said(connect, bare).endswith("the address of an API usually ends in /v1")


def test_a_redirection_is_not_followed(connect: Connect, answering: Callable[..., str]) -> None:
    elsewhere = answering(lambda *_: (200, {}, GOOD))
    url = answering(lambda *_: (307, {"location": f"{elsewhere}/models"}, b""))
    assert "answers that it has moved (307)" in said(connect, url)


def test_an_endpoint_that_keeps_failing(
    connect: Connect, answering: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "FIRST_SECONDS", 0.0)
    url = answering(lambda *_: (503, {}, b'{"error": {"message": "warming up"}}'))
    assert said(connect, url) == f"{url} fails to list its models, 5 times, at last with 503: warming up"


def test_the_key_is_sent_only_where_it_may_be(
    connect: Connect, answering: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    keys = list[str | None]()

    def answer(path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        keys.append(headers.get("authorization"))
        return (200, {}, GOOD)

    url = answering(answer)
    connect(url)
    assert set(keys) == {f"Bearer {SECRET}"}
    keys.clear()
    # To this machine by a name that is not known to be it.
    monkeypatch.setattr(socket, "getaddrinfo", _everywhere_is_here(socket.getaddrinfo))
    elsewhere = url.replace("127.0.0.1", "server.example")
    connect(elsewhere, cache=False)
    assert set(keys) == {None}
    keys.clear()
    connect(elsewhere, cache=False, allow_plain_http_key=True)
    assert set(keys) == {f"Bearer {SECRET}"}


def _everywhere_is_here(real: Callable[..., Any]) -> Callable[..., Any]:
    return lambda host, *rest, **more: real("127.0.0.1", *rest, **more)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    words = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout key.pem"
        " -out certificate.pem -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run(words.split(), cwd=folder, check=True, capture_output=True)
    return folder / "certificate.pem", folder / "key.pem"


def test_a_certificate_that_nobody_vouches_for_is_refused(
    connect: Connect,
    answering: Callable[..., str],
    certificate: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    url = answering(lambda *_: (200, {}, GOOD), context)
    assert said(connect, url) == (
        f"nothing answers at {url} (self-signed certificate): is the server running, and the address right?"
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    (reply,) = connect(url).complete([Request("a", 0)], Sampling())
    assert isinstance(reply, Completion)
    assert reply.text == "yes"
