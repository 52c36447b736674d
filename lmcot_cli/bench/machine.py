"""The machine, the versions, and how much memory this process has taken."""

from __future__ import annotations

import os
import platform
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from lmcot_cli import __version__
from lmcot_cli.backends.engine_options import usable_cores

MIB = 1024 * 1024


def machine() -> dict[str, Any]:
    """Describe the machine: processor, cores this process may use, bytes of memory, system."""
    return {
        "processor": _processor(),
        "cores": usable_cores(),
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release()}",
    }


def versions() -> dict[str, str]:
    """Return the versions that figures depend on, and what llama.cpp was compiled with."""
    from lmcot_cli.backends.llama.library import llama

    described = llama().llama_print_system_info().decode("utf-8", errors="replace")
    return {
        "lmcot": __version__,
        "python": platform.python_version(),
        "llama-cpp-python": metadata.version("llama-cpp-python"),
        "numpy": metadata.version("numpy"),
        "llama.cpp features": " ".join(re.findall(r"(\w+) = 1\b", described)),
    }


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


def _memory() -> int | None:
    if not hasattr(os, "sysconf"):
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
