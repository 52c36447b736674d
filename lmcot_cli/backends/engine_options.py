"""Settings of the engines that run models on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from lmcot_cli.errors import UsageError
from lmcot_cli.settings.declaration import COUNT, Rule, check, setting, setting_from

MAX_PARALLEL = 124
"""llama.cpp has 256 sequences; the engine needs two per request, and a few for prefixes."""

DEFAULT_PARALLEL = 16
"""Requests per batch where nothing was measured: the fastest width of a 135M model on two cores."""

MAX_THREADS = 512
"""Maximum threads of ggml (GGML_MAX_N_THREADS); it crashes with more."""


Dtype = Literal["float32", "bfloat16", "float16"]


def usable_cores() -> int:
    """Return the number of cores this process may run on, which an affinity mask or `taskset` reduces."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


KvType = Literal["f16", "q8_0"]

KV_BYTES: dict[KvType, float] = {"f16": 2, "q8_0": 34 / 32}
"""Bytes per value in the KV cache; q8_0 stores 32 of them with a scale of two bytes."""


def parse_parallel(text: int | str) -> int | None:
    """Return the value of `parallel`: a count, or None for `auto`.

    Raises:
        UsageError: It is neither.
    """
    if text == "auto":
        return None
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"--parallel {text}: give auto, or a count") from None


_PANEL = "Engine"


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Settings of the llama.cpp engine, and of transformers and ONNX Runtime.

    Raises:
        UsageError: A value out of its range.
    """

    n_ctx: int | None = setting(
        None,
        "Maximum tokens of a prompt and its completion together; the model's own context is the most there is.",
        shown="the model's own",
        rule=COUNT,
        panel=_PANEL,
    )
    parallel: int | None = setting(
        None,
        "Maximum sequences decoded in one batch; auto measures once which width is fastest for the model here.",
        metavar="auto|N",
        shown="auto",
        read=parse_parallel,
        in_file=int | Literal["auto"],
        rule=Rule(least=1, most=MAX_PARALLEL),
        panel=_PANEL,
    )
    threads: int = setting_from(
        lambda: min(usable_cores(), MAX_THREADS),
        "Threads that compute.",
        shown="the usable cores",
        rule=Rule(least=1, most=MAX_THREADS),
        panel=_PANEL,
    )
    gpu_layers: int = setting(
        0,
        "Layers to put on a GPU, where llama.cpp was built for one; -1 is all.",
        rule=Rule(least=-1),
        panel=_PANEL,
    )
    kv_mib: int = setting(
        1024,
        "Maximum memory for llama.cpp's KV cache and recurrent states, in MiB; less is taken where less is needed.",
        rule=COUNT,
        panel=_PANEL,
    )
    # A step of the 135M shape takes 12% less time at 16 sequences, 25% less at 32 (Dao et al. 2022, arXiv 2205.14135).
    flash_attention: bool = setting(
        True,
        "Compute attention in one pass; in steps it is slower, and its last bits differ.",
        flag="--flash-attention/--no-flash-attention",
        panel=_PANEL,
    )
    device: str | None = setting(
        None,
        "Device that transformers computes on: cpu, cuda, cuda:1 ...",
        metavar="NAME",
        shown="a GPU where there is one",
        panel=_PANEL,
    )
    dtype: Dtype | None = setting(
        None,
        "Type that transformers computes in: float32, bfloat16 or float16.",
        metavar="TYPE",
        shown="float32 on a CPU, the model's own on a GPU",
        changes_answers=True,
        panel=_PANEL,
    )
    trust_remote_code: bool = setting(
        False, "Run the Python code that a model's repository brings.", in_file=None, panel=_PANEL
    )
    # q8_0 takes 6 to 25% more time (135M shape, 16 and 32 sequences).
    kv_type: KvType = setting(
        "f16",
        "Type of the values in the KV cache; q8_0 takes half the memory of f16 and more time.",
        changes_answers=True,
        panel=_PANEL,
    )

    def __post_init__(self) -> None:
        wrong = []
        if self.kv_type != "f16" and not self.flash_attention:
            wrong.append(f"--kv-type {self.kv_type} needs flash attention: leave out --no-flash-attention")
        check(self, *wrong)
