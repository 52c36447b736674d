from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama.memory import memory_estimate

RUN = """
import re, sys
from pathlib import Path
from lmcot_cli.backends.base import Request, Sampling
from lmcot_cli.backends.llama.backend import LlamaBackend
from lmcot_cli.backends.engine_options import EngineOptions
with LlamaBackend(Path(sys.argv[1]), EngineOptions(**eval(sys.argv[2]))) as backend:
    prompts = [f"{row} " + "some words " * 30 for row in range(4)]
    backend.complete([Request(prompt, seed) for prompt in prompts for seed in range(4)], Sampling(0.8, 0.95, 8))
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from Linux's /proc")
@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ({"context": 1024}, EngineOptions(threads=1, parallel=16)),
        ({"context": 4096, "kv_heads": 6}, EngineOptions(threads=1, parallel=32)),
        (
            {"width": 576, "heads": 9, "kv_heads": 3, "feed_forward": 1536, "layers": 8},
            EngineOptions(threads=1, parallel=8),
        ),
        ({"context": 4096, "kv_heads": 6}, EngineOptions(threads=1, parallel=16, kv_type="q8_0", kv_mib=24)),
    ],
)
def test_the_peak_is_as_stated(
    tiny_gguf: Callable[..., Path], shape: dict[str, int], options: EngineOptions
) -> None:
    check_peak(tiny_gguf(**shape), options)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from Linux's /proc")
@pytest.mark.parametrize("family", ["gemma3", "mamba", "jamba"])
def test_the_peak_is_as_stated_for_other_kinds_of_memory(
    tiny_family: Callable[..., Path], family: str
) -> None:
    check_peak(tiny_family(family, 1 << 20), EngineOptions(threads=1, parallel=16, kv_mib=64))


def check_peak(path: Path, options: EngineOptions) -> None:
    run = subprocess.run(
        [sys.executable, "-c", RUN, str(path), repr(asdict(options))],
        env={"PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=True,
    )
    peak = int(run.stdout) * 1024
    assert memory_estimate(path, options).total == pytest.approx(peak, rel=0.1)
