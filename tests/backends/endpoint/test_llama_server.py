"""A real OpenAI-compatible server: llama_cpp.server on loopback, with the embedded large model."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.endpoint.backend import EndpointBackend
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama.backend import LlamaBackend
from lmcot_cli.datasets.reader import read_rows
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import ModelError
from lmcot_cli.models import embedded
from lmcot_cli.prompts.render import Prompts

Connect = Callable[..., EndpointBackend]

QUESTIONS = Path(__file__).parents[3] / "examples" / "questions.jsonl"
# As the server computes: what is in a batch, and flash attention, change the last bits, and of these 16 prompts one
# has two words within 0.01 nats of each other.
ONE_BY_ONE = EngineOptions(threads=1, parallel=1, flash_attention=False)
CHAIN = Sampling(max_tokens=64, stop=("\nQuestion:", "\nContext:"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("server") / "log.txt"
    options = {
        "--model": str(embedded.path_of("builtin:large")), "--model_alias": "large", "--n_ctx": "1024",
        "--n_threads": "1", "--n_threads_batch": "1", "--host": "127.0.0.1", "--port": "0",
    }  # fmt: skip
    words = [word for option in options.items() for word in option]
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-m", "llama_cpp.server", *words], stdout=output, stderr=output
        ) as process,
    ):
        try:
            yield f"http://127.0.0.1:{_port(process, log)}/v1"
        finally:
            process.kill()


def _port(process: subprocess.Popen[bytes], log: Path) -> str:
    """Wait until the server says that it runs; return the port that it has taken."""
    for _ in range(600):
        if found := re.search(r"running on http://[^ ]*:(\d+)", log.read_text()):
            return found[1]
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def prompts() -> list[str]:
    rows = [row for row in read_rows(QUESTIONS) if isinstance(row, Row)][:8]
    return [Prompts().render(stage, row) for row in rows for stage in ("standard", "cot")]


def completions(backend: EndpointBackend | LlamaBackend, prompts: list[str]) -> list[Completion]:
    replies = backend.complete([Request(prompt, 0) for prompt in prompts], CHAIN)
    assert all(isinstance(reply, Completion) for reply in replies)
    return [reply for reply in replies if isinstance(reply, Completion)]


def test_greedy_replies_are_those_of_the_local_backend(
    server: str, connect: Connect, prompts: list[str]
) -> None:
    with LlamaBackend(embedded.path_of("builtin:large"), ONE_BY_ONE) as local:
        wanted = completions(local, prompts)
    backend = connect(server, "large", endpoint_api="completions", request_timeout=60.0)
    # One after another: the server keeps the beginning that a prompt shares with the one before, and how much that is
    # decides the last bits.
    found = [reply for prompt in prompts for reply in completions(backend, [prompt])]
    assert [reply.text for reply in found] == [reply.text for reply in wanted]
    assert [reply.finish_reason for reply in found] == [reply.finish_reason for reply in wanted]
    assert [reply.prompt_tokens for reply in found] == [reply.prompt_tokens for reply in wanted]
    assert len({reply.text for reply in found}) > 5


def test_log_probabilities_are_those_of_the_local_backend(
    server: str, connect: Connect, prompts: list[str]
) -> None:
    with LlamaBackend(embedded.path_of("builtin:large"), ONE_BY_ONE) as local:
        wanted = completions(local, prompts[:4])
    found = completions(
        connect(server, "large", endpoint_api="completions", request_timeout=60.0), prompts[:4]
    )
    for ours, theirs in zip(wanted, found, strict=True):
        assert theirs.logprob == pytest.approx(ours.logprob, abs=0.05)


def test_an_answer_of_one_choice_is_asked_for_as_often_as_there_are_samples(
    server: str, connect: Connect
) -> None:
    backend = connect(server, "large", endpoint_api="completions", request_timeout=60.0)
    sampling = Sampling(temperature=1.5, max_tokens=12)
    requests = [
        Request("Context: Ana is in Oslo.\nQuestion: Where is Ana?\nAnswer:", seed) for seed in range(4)
    ]
    before = backend.counters.requests
    replies = backend.complete(requests, sampling)
    assert len({reply.text for reply in replies if isinstance(reply, Completion)}) > 1
    assert backend.counters.requests - before == 4


def test_a_model_that_the_server_does_not_have(server: str, connect: Connect) -> None:
    with pytest.raises(ModelError, match=r"lists no model 'larg'; near ones are 'large'"):
        connect(server, "larg")


def test_auto_finds_out_that_the_chat_template_is_not_the_models(
    server: str, connect: Connect, prompts: list[str]
) -> None:
    found = completions(connect(server, "large", request_timeout=60.0), prompts[:6])
    plain = connect(server, "large", endpoint_api="completions", request_timeout=60.0)
    assert [reply.text for reply in found] == [reply.text for reply in completions(plain, prompts[:6])]
    assert all(reply.text.strip() for reply in found)
