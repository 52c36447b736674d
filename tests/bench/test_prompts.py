"""Prompts have exactly the tokens asked for, as the engine itself counts them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama.backend import LlamaBackend
from lmcot_cli.bench.options import Workload
from lmcot_cli.bench.prompts import BenchPrompt, _PromptWriter, prepare
from lmcot_cli.errors import ModelError, UsageError
from lmcot_cli.model_files.gguf_header import GgufHeader
from lmcot_cli.models import embedded

TEMPLATE = "{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}[assistant]"


def tokens_seen(path: Path, prompts: list[BenchPrompt]) -> set[int]:
    with LlamaBackend(path, EngineOptions(threads=1)) as backend:
        requests = [Request(prompt.text, seed=0) for prompt in prompts]
        replies = backend.complete(requests, Sampling(max_tokens=1))
    return {reply.prompt_tokens for reply in replies if isinstance(reply, Completion)}


@pytest.mark.parametrize("tokens", [5, 64, 101])
def test_the_engine_sees_exactly_as_many_tokens(tiny: Callable[[str], Path], tokens: int) -> None:
    _, prompts = prepare(tiny("llama"), Workload(prompts=3, prompt_tokens=tokens, new_tokens=8), repeats=2)
    everyone = prompts[0] + prompts[1]
    assert tokens_seen(tiny("llama"), everyone) == {tokens}
    assert {len(prompt.ids) for prompt in everyone} == {tokens}
    assert len({prompt.text for prompt in everyone}) == 6


def test_the_embedded_pair_too() -> None:
    path = embedded.path_of("builtin:small")
    loaded, prompts = prepare(path, Workload(prompts=2), repeats=1)
    assert tokens_seen(path, prompts[0]) == {256}
    assert loaded.parameters == 3_803_392


def test_a_chat_template_counts(tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GgufHeader, "chat_template", TEMPLATE)
    _, prompts = prepare(tiny("llama"), Workload(prompts=2, prompt_tokens=60, new_tokens=4), repeats=1)
    assert tokens_seen(tiny("llama"), prompts[0]) == {60}
    with pytest.raises(UsageError, match="--prompt-tokens 5: this model's shortest prompt takes"):
        prepare(tiny("llama"), Workload(prompt_tokens=5), repeats=1)


def test_what_the_context_cannot_hold_is_refused(tiny: Callable[[str], Path]) -> None:
    with pytest.raises(UsageError, match=r"--prompt-tokens 200 and --new-tokens 57 .* context of 256"):
        prepare(tiny("llama"), Workload(prompt_tokens=200, new_tokens=57), repeats=1)


def test_no_model_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model file"):
        prepare(tmp_path / "none.gguf", Workload(), repeats=1)


def two_a_letter(writer: object, text: str) -> list[int]:
    return [0] * sum(1 if character == " " else 2 for character in text)


def test_where_no_cut_gives_the_number_fillers_mend_it(
    tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_PromptWriter, "_encode", two_a_letter)
    _, prompts = prepare(tiny("llama"), Workload(prompts=4, prompt_tokens=7), repeats=1)
    assert {len(prompt.ids) for prompt in prompts[0]} == {7}


def test_where_nothing_gives_the_number_it_is_said(
    tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_PromptWriter, "_encode", lambda writer, text: [0] * 2 * len(text))
    with pytest.raises(ModelError, match="no text gives exactly 7 tokens"):
        prepare(tiny("llama"), Workload(prompt_tokens=7), repeats=1)
