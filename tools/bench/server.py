"""Measure a running llama-server on the same prompts: as many requests at once as it is to have at work."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from time import perf_counter
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from lmcot_cli.bench.options import Workload
from lmcot_cli.bench.prompts import LoadedModel
from lmcot_cli.errors import ModelError, UsageError

NAME = "llama-server"
LOOK_SECONDS = 10
WRITE_SECONDS = 600
WARM_UP_TOKENS = 8


@dataclass(frozen=True, slots=True)
class LlamaServer:
    """A llama-server that answers.

    Attributes:
        url: Its address, without a path.
        slots: Requests it works on at a time, the others wait.
    """

    url: str
    slots: int


def find_server(url: str, model: LoadedModel) -> LlamaServer:
    """Check that a llama-server runs there, with the same model.

    Raises:
        UsageError: The address is no http address.
        ModelError: Nothing answers, it is something else, or it serves another model.
    """
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
        raise UsageError(f"--peer-url {url!r}: write the address of a llama-server: http://127.0.0.1:8080")
    address = url.rstrip("/").removesuffix("/v1")
    slots = _ask(f"{address}/props", LOOK_SECONDS).get("total_slots")
    if slots is None:
        raise ModelError(f"{url}: what answers there is no llama-server")
    try:
        served = _ask(f"{address}/v1/models", LOOK_SECONDS)["data"][0]["meta"]
        theirs = {"parameters": served["n_params"], "bytes of weights": served["size"]}
    except (KeyError, IndexError, TypeError):
        raise ModelError(f"{url}: what answers there is no llama-server") from None
    ours = {"parameters": model.parameters, "bytes of weights": model.tensor_bytes}
    for what, number in ours.items():
        if theirs[what] != number:
            raise ModelError(
                f"{url}: serves another model, of {theirs[what]:,} {what}; this one has {number:,}:"
                " start it with -m and the same file"
            )
    return LlamaServer(address, int(slots))


def measure_server(
    server: LlamaServer, ids: list[list[list[int]]], work: Workload, concurrency: int
) -> dict[str, Any]:
    """Write the samples of every repeat on the server.

    Its sampling is as in the engine: temperature, then top-p, all else off; no end of text; prompts cached.

    Returns:
        Fields of `report.Loop`.

    Raises:
        ModelError: The server failed.
    """
    _complete(server, ids[0][0][::-1], work, seed=0, tokens=WARM_UP_TOKENS)
    measured = [_measure(server, prompts, work, concurrency) for prompts in ids]
    return {
        "runs": [tokens / seconds for tokens, seconds in measured],
        "completion_tokens": measured[0][0],
        "peak_memory": None,
    }


def _measure(
    server: LlamaServer, prompts: list[list[int]], work: Workload, concurrency: int
) -> tuple[int, float]:
    start = perf_counter()
    pool = ThreadPoolExecutor(concurrency)
    try:
        samples = [
            pool.submit(
                _complete, server, prompt, work, seed=place * work.samples + sample, tokens=work.new_tokens
            )
            for place, prompt in enumerate(prompts)
            for sample in range(work.samples)
        ]
        tokens = sum(sample.result() for sample in samples)
    finally:  # Ctrl-C too: the requests that wait are not sent any more, and those that are sent not waited for
        pool.shutdown(wait=False, cancel_futures=True)
    return tokens, perf_counter() - start


def _complete(server: LlamaServer, prompt: list[int], work: Workload, seed: int, tokens: int) -> int:
    """Have one sample written and return how many tokens it has."""
    body = {
        "prompt": prompt,
        "n_predict": tokens,
        "temperature": work.temperature,
        "top_p": work.top_p,
        "top_k": 0,
        "min_p": 0.0,
        "samplers": ["temperature", "top_p"],
        "seed": seed,
        "ignore_eos": True,
        "cache_prompt": True,
    }
    reply = _ask(f"{server.url}/completion", WRITE_SECONDS, body)
    try:
        return int(reply["tokens_predicted"])
    except KeyError:
        raise ModelError(f"{server.url}: its reply says nothing of the tokens it wrote") from None


def _ask(url: str, seconds: float, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Send a request (POST where there is a body) and return the JSON object that comes back.

    Raises:
        ModelError: Nothing answers in time, or the answer is an error or no JSON object.
    """
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 (find_server checks the scheme)
    try:
        with urlopen(request, timeout=seconds) as response:  # noqa: S310
            reply = json.load(response)
    except HTTPError as error:
        said = error.read().decode("utf-8", "replace")[:200]
        raise ModelError(f"{url}: answered {error.code}: {said or error.reason}") from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise ModelError(
            f"{url}: no llama-server answers there ({reason}); start one, or leave out --peer-url"
        ) from error
    except ValueError as error:
        raise ModelError(f"{url}: what answers there is no llama-server") from error
    if not isinstance(reply, dict):
        raise ModelError(f"{url}: what answers there is no llama-server")
    return reply
