"""The peer measured over HTTP, against a server that speaks llama-server's protocol."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from lmcot_cli.bench.options import Workload
from lmcot_cli.bench.prompts import LoadedModel
from lmcot_cli.errors import ModelError, UsageError
from tools.bench.server import LlamaServer, find_server, measure_server

MODEL = LoadedModel(parameters=1000, tensor_bytes=2000, vocabulary=300, trained_context=64)
WORK = Workload(prompts=2, prompt_tokens=4, samples=3, new_tokens=5, temperature=0.7, top_p=0.9)
IDS = [[[1, 2, 3, 4], [5, 6, 7, 8]], [[9, 10, 11, 12], [13, 14, 15, 16]]]


class Handler(BaseHTTPRequestHandler):
    """Answers as llama-server does; what it answers stands in its server."""

    server: Any

    def do_GET(self) -> None:
        pages = {
            "/props": {"total_slots": 4},
            "/v1/models": {"data": [{"meta": {"n_params": self.server.parameters, "size": 2000}}]},
        }
        self._reply(self.server.pages.get(self.path, pages[self.path]))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.bodies.append(body)
            self.server.at_work += 1
            self.server.most_at_work = max(self.server.most_at_work, self.server.at_work)
        time.sleep(0.02)
        with self.server.lock:
            self.server.at_work -= 1
        if self.server.fails:
            self._reply({"error": "no slot"}, status=500)
        else:
            self._reply({"tokens_predicted": body["n_predict"], "content": "x"})

    def _reply(self, page: Any, status: int = 200) -> None:
        data = json.dumps(page).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Any]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        found: Any = serving
        found.lock, found.bodies, found.pages = threading.Lock(), [], {}
        found.at_work, found.most_at_work, found.fails, found.parameters = 0, 0, False, 1000
        found.url = f"http://127.0.0.1:{serving.server_port}"
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        serving.shutdown()
        thread.join()


def test_every_sample_is_asked_for_once_with_the_engines_sampling(server: Any) -> None:
    found = find_server(server.url + "/v1/", MODEL)
    measured = measure_server(found, IDS, WORK, concurrency=4)
    assert measured["completion_tokens"] == 2 * 3 * 5
    assert len(measured["runs"]) == 2
    asked = server.bodies[1:]  # the first is the warm-up
    assert sorted(body["prompt"] for body in asked) == sorted(
        prompt for one in IDS for prompt in one for _ in "abc"
    )
    assert len({body["seed"] for body in asked}) == 6
    for body in asked:
        assert (body["n_predict"], body["temperature"], body["top_p"]) == (5, 0.7, 0.9)
        assert (body["top_k"], body["min_p"], body["samplers"]) == (0, 0.0, ["temperature", "top_p"])
        assert body["ignore_eos"] is True
        assert body["cache_prompt"] is True


def test_as_many_requests_are_at_work_as_were_asked_for(server: Any) -> None:
    measure_server(find_server(server.url, MODEL), IDS, WORK, concurrency=3)
    assert server.most_at_work == 3


def test_a_server_with_another_model_is_refused(server: Any) -> None:
    server.parameters = 999
    with pytest.raises(
        ModelError, match="another model, of 999 parameters; this one has 1,000: start it with -m"
    ):
        find_server(server.url, MODEL)


@pytest.mark.parametrize("pages", [{"/props": {}}, {"/props": [1]}, {"/v1/models": {"data": []}}])
def test_what_is_no_llama_server_is_refused(server: Any, pages: dict[str, Any]) -> None:
    server.pages = pages
    with pytest.raises(ModelError, match="what answers there is no llama-server"):
        find_server(server.url, MODEL)


def test_a_server_that_fails_is_quoted(server: Any) -> None:
    server.fails = True
    with pytest.raises(ModelError, match=r"/completion: answered 500: .*no slot"):
        measure_server(LlamaServer(server.url, 4), IDS, WORK, concurrency=2)
    assert len(server.bodies) == 1


def test_nobody_there_is_one_line(server: Any) -> None:
    server.shutdown()
    server.server_close()
    with pytest.raises(ModelError, match=r"no llama-server answers there \(.*refused.*\); start one"):
        find_server(server.url, MODEL)


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "file:///etc/passwd", "http://"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="write the address of a llama-server"):
        find_server(url, MODEL)
