"""The machine, the versions, and how much memory this process has taken."""

from __future__ import annotations

import platform
import re
import sys
from pathlib import Path
from typing import Any

from lmcot_cli import installation
from lmcot_cli.backends.engine_options import usable_cores


def machine() -> dict[str, Any]:
    """Describe the machine: system, processor, the cores and bytes of memory that this process may use."""
    allowed = {"cores": usable_cores(), "memory": installation.memory_limit()}
    return {**installation.machine(), "processor": _processor(), **allowed}


def versions() -> dict[str, str | None]:
    """Return the versions that figures depend on, and what llama.cpp was compiled with."""
    from lmcot_cli.backends.llama.library import llama

    described = llama().llama_print_system_info().decode("utf-8", errors="replace")
    features = " ".join(re.findall(r"(\w+) = 1\b", described))
    return {**installation.versions("llama-cpp-python", "numpy"), "llama.cpp features": features}


def peak_memory() -> int | None:
    """Return the most bytes of main memory this process has held; None where the system does not say.

    A model file that is mapped into memory counts as far as its pages have been read.
    """
    # Not ru_maxrss, which on Linux starts from what the parent process held.
    status = Path("/proc/self/status")
    if status.exists():
        match = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.MULTILINE)
        return int(match[1]) * 1024 if match else None
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    if described.exists():
        match = re.search(r"^model name\s*:\s*(.+)$", described.read_text(), re.MULTILINE)
        if match:
            return match[1]
    return platform.processor() or platform.machine()
