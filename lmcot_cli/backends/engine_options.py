"""What can be set about the engines that run models on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Literal, get_args

from lmcot_cli.errors import UsageError

MAX_PARALLEL = 124
"""llama.cpp has 256 sequences; the engine needs two for each request at work, and a few for prefixes."""

DEFAULT_PARALLEL = 16
"""Requests in a batch where nothing was measured: the quickest width of a 135M model on two cores."""

MAX_THREADS = 512
"""Most threads that ggml can use (GGML_MAX_N_THREADS); it crashes with more."""


Dtype = Literal["float32", "bfloat16", "float16"]


def usable_cores() -> int:
    """Count the cores this process may run on (an affinity mask or `taskset` narrows them)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


KvType = Literal["f16", "q8_0"]

KV_BYTES: dict[KvType, float] = {"f16": 2, "q8_0": 34 / 32}
"""Bytes a value takes in the KV cache; q8_0 holds 32 of them with a scale of two bytes."""


def parse_parallel(text: int | str) -> int | None:
    """Read the setting `parallel`: a count, or `auto`, which is None.

    Raises:
        UsageError: It is neither.
    """
    if text == "auto":
        return None
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"--parallel {text}: give auto, or a count") from None


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Settings of the llama.cpp engine, and of transformers and ONNX Runtime.

    Attributes:
        n_ctx: Most tokens one request may take, prompt and completion together; None (and anything above it)
            means the context length the model was trained with.
        parallel: Most requests decoded in one batch; None takes what is quickest for the model.
        threads: Threads that compute.
        gpu_layers: Layers to put on a GPU, where llama.cpp was built for one; -1 means all.
        kv_mib: Most memory for llama.cpp's KV cache and the states of recurrent layers, in MiB. Less is taken where
            `parallel` full requests need less.
        device: Where transformers computes, as torch names it; None is the GPU where there is one, else the CPU.
        dtype: What transformers computes in; None is float32 on a CPU, the checkpoint's own type on a GPU.
        trust_remote_code: Run the Python code that a model's repository brings.
        flash_attention: Compute attention in one pass (Dao et al. 2022, arXiv 2205.14135). A step of the 135M
            shape takes 12% less time at 16 sequences, 25% less at 32, and much less memory.
        kv_type: How the KV cache holds its values. `q8_0` takes half the memory of `f16` and 6 to 25% more time
            (135M shape, 16 and 32 sequences); it needs flash attention.

    Raises:
        UsageError: A value out of its range.
    """

    n_ctx: int | None = None
    parallel: int | None = None
    threads: int = field(default_factory=lambda: min(usable_cores(), MAX_THREADS))
    gpu_layers: int = 0
    kv_mib: int = 1024
    flash_attention: bool = True
    device: str | None = None
    dtype: Dtype | None = None
    trust_remote_code: bool = False
    kv_type: KvType = "f16"

    def __post_init__(self) -> None:
        if self.n_ctx is not None and self.n_ctx < 1:
            raise UsageError(f"--n-ctx {self.n_ctx}: a request takes at least 1 token")
        if self.parallel is not None and not 1 <= self.parallel <= MAX_PARALLEL:
            raise UsageError(f"--parallel {self.parallel}: choose between 1 and {MAX_PARALLEL}")
        if not 1 <= self.threads <= MAX_THREADS:
            raise UsageError(f"--threads {self.threads}: choose between 1 and {MAX_THREADS}")
        if self.gpu_layers < -1:
            raise UsageError(f"--gpu-layers {self.gpu_layers}: choose -1 (all), 0 (none) or a count")
        if self.kv_mib < 1:
            raise UsageError(f"--kv-mib {self.kv_mib}: the KV cache needs at least 1")
        if self.dtype is not None and self.dtype not in get_args(Dtype):
            raise UsageError(f"--dtype {self.dtype}: choose one of {', '.join(get_args(Dtype))}")
        if self.kv_type not in get_args(KvType):
            raise UsageError(f"--kv-type {self.kv_type}: choose one of {', '.join(get_args(KvType))}")
        if self.kv_type != "f16" and not self.flash_attention:
            raise UsageError(
                f"--kv-type {self.kv_type} needs flash attention: leave out --no-flash-attention"
            )
