"""Measure transformers on the same prompts: `generate` on batches of prompts with several samples each."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Any

from lmcot_cli.backends.torch.library import OWN_CODE_REFUSED, loading
from lmcot_cli.bench.machine import peak_memory
from lmcot_cli.bench.options import Workload
from lmcot_cli.errors import MissingExtraError, ModelError

NAME = "transformers"
WARM_UP_TOKENS = 4


def check_folder(folder: Path) -> None:
    """Check what can be checked before anything is measured.

    Raises:
        ModelError: The folder holds no transformers model.
        MissingExtraError: torch or transformers are not installed.
    """
    from importlib.util import find_spec

    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: holds no config.json; name a folder with a transformers model")
    if find_spec("torch") is None or find_spec("transformers") is None:
        raise MissingExtraError("--peer-transformers", "train")


def measure_transformers(
    folder: str, workload: dict[str, Any], ids: list[list[list[int]]], threads: int, concurrency: int
) -> dict[str, Any]:
    """Write the samples of every repeat, in batches of about `concurrency` sequences, on the CPU.

    Args:
        folder: A decoder-only model.
        workload: Fields of `Workload`.
        ids: Token ids of the prompts of every repeat.
        threads: Threads that compute.
        concurrency: Sequences of a batch; a prompt's samples stay together.

    Returns:
        Fields of `report.Loop`.

    Raises:
        ModelError: The model has fewer tokens than the GGUF's.
    """
    import torch

    torch.set_num_threads(threads)
    work = Workload(**workload)
    model = _load(folder)
    if max(max(prompt) for prompts in ids for prompt in prompts) >= model.config.vocab_size:
        raise ModelError(f"{folder}: has another vocabulary than the GGUF; name the model it was made from")
    batch = max(1, concurrency // work.samples)
    _generate(model, ids[0][:batch], work, WARM_UP_TOKENS)
    measured = [_measure(model, prompts, work, batch) for prompts in ids]
    return {
        "runs": [tokens / seconds for tokens, seconds in measured],
        "completion_tokens": measured[0][0],
        "peak_memory": peak_memory(),
    }


def _load(folder: str) -> Any:
    from transformers import AutoModelForCausalLM

    with loading(folder, OWN_CODE_REFUSED):
        return AutoModelForCausalLM.from_pretrained(
            folder, dtype="auto", local_files_only=True, use_safetensors=True, trust_remote_code=False
        ).eval()


def _measure(model: Any, prompts: list[list[int]], work: Workload, batch: int) -> tuple[int, float]:
    start = perf_counter()
    tokens = sum(
        _generate(model, prompts[begin : begin + batch], work, work.new_tokens)
        for begin in range(0, len(prompts), batch)
    )
    return tokens, perf_counter() - start


def _generate(model: Any, prompts: list[list[int]], work: Workload, tokens: int) -> int:
    """Write the samples of some prompts of one length, and return how many tokens they are."""
    import torch

    sampled = work.temperature > 0
    given = torch.tensor(prompts)
    with torch.inference_mode():
        written = model.generate(
            given,
            attention_mask=torch.ones_like(given),
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            num_return_sequences=work.samples if sampled else 1,
            pad_token_id=0,
            **(
                {"do_sample": True, "temperature": work.temperature, "top_p": work.top_p, "top_k": 0}
                if sampled
                else {"do_sample": False}
            ),
        )
    return int(written.shape[0] * (written.shape[1] - given.shape[1]))
