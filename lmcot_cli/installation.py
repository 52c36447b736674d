"""What the installation and the machine allow: missing and unfit packages, disk space, a container's limits.

`lmcot doctor` shows it. Only metadata of packages is read, and nothing is changed.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from lmcot_cli import __version__

if TYPE_CHECKING:
    from packaging.requirements import Requirement

TESTED = {
    "huggingface_hub": "0.36.2",
    "llama-cpp-python": "0.3.36",
    "openai": "3.52.0",
    "peft": "0.21.1",
    "torch": "2.13.0",
    "transformers": "4.57.6",
    "trl": "1.16.0",
}
"""Packages whose newer versions have broken lmcot before, with the newest version that it is tested with."""

FOR_DEVELOPERS = frozenset({"dev", "fuzz"})
"""Extras for people who work on lmcot itself."""

LITTLE_SPACE = 2_000_000_000
"""Bytes that a small model and what is made from it easily take."""

_EXTRA = re.compile(r'extra == "([\w-]+)"')
_CGROUP = Path("/sys/fs/cgroup")


def version_of(package: str) -> str | None:
    """Return the installed version of a package, None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def versions(*packages: str) -> dict[str, str | None]:
    """Return the versions of lmcot, Python and these packages; None for one that is not installed."""
    found = {package: version_of(package) for package in packages}
    return {"lmcot": __version__, "python": platform.python_version(), **found}


def machine() -> dict[str, str | int | None]:
    """Return the system, the processor's architecture and the number of logical CPUs."""
    return {"system": sys.platform, "architecture": platform.machine(), "cpus": os.cpu_count()}


def missing_packages(requirements: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the packages that are not installed, by the extra that requires them, directly or through another.

    Args:
        requirements: Requirements as in package metadata: `torch>=2.9; extra == "train"`.
    """
    read = [*_read(requirements)]
    names = dict.fromkeys(extra for one in read for extra in _EXTRA.findall(str(one.marker)))
    lacking = {
        extra: tuple(dict.fromkeys(one.name for one in _wanted(read, extra) if version_of(one.name) is None))
        for extra in names
        if extra not in FOR_DEVELOPERS
    }
    return {extra: packages for extra, packages in lacking.items() if packages}


def unfit_packages(requirements: Iterable[str]) -> dict[str, str]:
    """Return the packages installed in a version that lmcot does not work with, and the command that fixes it."""
    found = {}
    for one in _read(requirements):
        version = version_of(one.name)
        if version is not None and not one.specifier.contains(version, prereleases=True):
            wanted = f"{one.name}{one.specifier}"
            found[one.name] = f"{version} does not fit: pip install --upgrade '{wanted}'"
    return found


def newer_packages() -> dict[str, str]:
    """Return the packages that are newer, by more than a patch, than the tested version; they may well work."""
    from packaging.version import Version

    found = {}
    for name, tested in TESTED.items():
        version = version_of(name)
        if version is not None and Version(version).release[:2] > Version(tested).release[:2]:
            found[name] = (
                f"{version} is newer than the {tested} that lmcot is tested with;"
                f" if something fails: pip install '{name}=={tested}'"
            )
    return found


def free_space() -> dict[str, int]:
    """Return the free bytes where models and replies are kept, by folder; one folder per disk."""
    from huggingface_hub.constants import HF_HUB_CACHE
    from platformdirs import user_cache_path

    disks: dict[int, tuple[str, int]] = {}
    for folder in (Path(HF_HUB_CACHE), user_cache_path("lmcot")):
        there = next((one for one in (folder, *folder.parents) if one.is_dir()), None)
        if there is not None:
            disks.setdefault(there.stat().st_dev, (str(folder), shutil.disk_usage(there).free))
    return dict(disks.values())


def core_quota(cgroup: Path = _CGROUP) -> float | None:
    """Return how many cores' time a container may use, None if that is not limited."""
    quota, period = (*_words(cgroup / "cpu.max"), "", "")[:2]
    if not quota:
        quota, period = (
            "".join(_words(cgroup / "cpu" / f"cpu.cfs_{name}_us")[:1]) for name in ("quota", "period")
        )
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None


def memory_limit(cgroup: Path = _CGROUP) -> int | None:
    """Return the maximum memory of this process in bytes, None if the system does not say."""
    own = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
    files = (cgroup / "memory.max", cgroup / "memory" / "memory.limit_in_bytes")
    limits = [int(words[0]) for words in map(_words, files) if words and words[0].isdigit()]
    return min([*limits, *([own] if own else [])], default=None)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        return []


def _read(requirements: Iterable[str]) -> Iterator[Requirement]:
    from packaging.requirements import Requirement

    yield from map(Requirement, requirements)


def _wanted(read: Iterable[Requirement], extra: str) -> Iterator[Requirement]:
    """Yield the requirements of an extra, and those of the extras of lmcot that it names."""
    for one in read:
        if (
            one.marker is None
            or not one.marker.evaluate({"extra": extra})
            or one.marker.evaluate({"extra": ""})
        ):
            continue
        if one.name == "lmcot":
            for other in sorted(one.extras - {extra}):
                yield from _wanted(read, other)
        else:
            yield one
